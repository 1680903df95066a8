"""Training that makes a model withstand more.

    result = harden(model, rows, threat, pgd(steps=7, step=0.36), Recipe(epochs=12))
    result = harden(model, rows, threat, method=trades(beta=6), recipe=Recipe(epochs=12, awp=0.005))

A way of training is a function from a lesson (one batch and what may be asked about it) to a loss, one file each in `methods`. What training
owes: the threat it was trained against (its numbers say nothing about any other), the best weights by held-out rows and not by the rows of an
audit, the clean accuracy it gave up, its measured cost, and the reason when it stopped early.
"""

from importlib import import_module
from pkgutil import iter_modules

from vauban.defences.training import methods
from vauban.defences.training.gates import TrainingStopped
from vauban.defences.training.harden import harden
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import METHODS, Manner, Method, find, method
from vauban.defences.training.recipe import Recipe
from vauban.defences.training.result import Epoch, Hardened, Tick

for _module in iter_modules(methods.__path__, f"{methods.__name__}."):
    import_module(_module.name)

__all__ = ["METHODS", "Epoch", "Hardened", "Lesson", "Manner", "Method", "Recipe", "Tick", "TrainingStopped", "find", "harden", "method"]
