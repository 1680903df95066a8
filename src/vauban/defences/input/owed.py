"""What every defence that changes the input owes: an ascent through its stand-in on a loss that a confident model does not flatten."""

from vauban.target.around import Owed

THROUGH = (Owed("apgd", {"steps": 100, "loss": "margin"}),)
