"""Training that makes a model withstand more.

    result = harden(model, rows, threat, pgd(steps=7, step=0.36), Recipe(epochs=12))

What adversarial training owes: the threat it was trained against (its numbers say nothing about any other), the best weights by held-out
rows and not by the rows of an audit, the clean accuracy it gave up, its measured cost, and the reason when it stopped early.
"""

from vauban.defences.training.adversarial import harden
from vauban.defences.training.gates import TrainingStopped
from vauban.defences.training.recipe import Recipe
from vauban.defences.training.result import Epoch, Hardened, Tick

__all__ = ["Epoch", "Hardened", "Recipe", "Tick", "TrainingStopped", "harden"]
