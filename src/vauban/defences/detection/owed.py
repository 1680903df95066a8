"""The attacks that every detector owes: the answer made wrong first and then accepted, towards one class after another."""

from vauban.target.around import Owed

SELECTIVE = (
    Owed("apgd", {"steps": 100, "loss": "selective"}),
    Owed("selective-pgd", {"steps": 50, "targets": 9}),
    Owed("lagrangian-pgd", {"steps": 50, "targets": 3, "weights": (0.1, 1.0, 10.0)}),
)
"""The second alone broke all that any of a dozen attacks did, on seven detectors around a small network; the others are for models unlike it."""
CONFIDENT = (*SELECTIVE, Owed("conf-max", {"steps": 200, "restarts": 4}))
"""And for thresholds on how sure the model is: the highest log-odds of a wrong class."""
