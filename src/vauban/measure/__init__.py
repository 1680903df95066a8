"""Numbers about numbers: intervals, paired tests, sample sizes. Plain Python, nothing of ours below."""

from vauban.measure.intervals import wilson
from vauban.measure.paired import mcnemar
from vauban.measure.size import rows_to_decide

__all__ = ["mcnemar", "rows_to_decide", "wilson"]
