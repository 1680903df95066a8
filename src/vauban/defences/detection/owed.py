"""The attacks that every detector owes: the answer made wrong first and then accepted, and neither goal given up for the other."""

from vauban.target.around import Owed

SELECTIVE = (
    Owed("pgd", {"steps": 100, "step": 0.05, "loss": "selective", "restarts": 3}),
    Owed("apgd", {"steps": 100, "loss": "selective"}),
)
CONFIDENT = SELECTIVE
"""And for thresholds on how sure the model is: the highest probability of a wrong class."""
