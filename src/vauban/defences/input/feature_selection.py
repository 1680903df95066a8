"""Only the features that say most about the classes are looked at; the others are set to their mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vauban.defences.input.checks import enough
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData, Missing
from vauban.settings import Positive
from vauban.target import Preprocessed, Target

By = Literal["anova", "variance", "mutual-information"]
ROWS = 20
"""Clean rows that features are ranked by, at least."""


@defence(
    "input",
    claims="changes of features that the classes hardly depend on",
    adaptive="its own gradient, which is 0 in the features that are not looked at",
    paper="Zhang et al. 2016, Adversarial feature selection against evasion attacks, IEEE Transactions on Cybernetics 46(3)",
    owes=THROUGH,
    broken="selection can make evasion easier (Zhang et al. 2016)",
)
def feature_selection(target: Target, clean: Clean, *, keep: Positive = 0.5, by: By = "anova") -> Target:
    """Keeps the best features and sets the others to their mean over clean rows; `keep` is their number, or below 1 their share."""
    return Preprocessed(Selected.fitted(clean, keep, by), target, differentiable=True)


class Selected:
    """x where `kept` (*shape), and `mean` (*shape) elsewhere."""

    def __init__(self, kept: Tensor, mean: Tensor) -> None:
        self.kept, self.mean = kept, mean

    @classmethod
    def fitted(cls, clean: Clean, keep: float, by: By) -> Selected:
        """On clean rows.

        Raises:
            BadData: too few rows, one class only, or fewer features than are to be kept.
        """
        enough(len(clean), ROWS, "feature-selection")
        x, y = clean.x.flatten(1), clean.y
        count = int(keep) if keep >= 1 else max(round(keep * x.shape[1]), 1)
        if count > x.shape[1]:
            raise BadData(f"defence 'feature-selection': keep = {count}, and these inputs have {x.shape[1]} features; keep fewer")
        if len(y.unique()) < 2:
            raise BadData("defence 'feature-selection': all clean rows are of one class; give rows of each")
        worth = RANKINGS[by](x.double(), y)
        kept = torch.zeros(x.shape[1], dtype=torch.bool)
        kept[worth.argsort(descending=True, stable=True)[:count]] = True
        shape = clean.x.shape[1:]
        return cls(kept.view(shape), x.mean(0).view(shape))

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.kept.shape:
            raise BadData(
                f"defence 'feature-selection' was fitted on inputs of shape {tuple(self.kept.shape)}, and these have {tuple(x.shape[1:])}"
            )
        return torch.where(self.kept.to(x.device), x, self.mean.to(x))


def f_ratio(x: Tensor, y: Tensor) -> Tensor:
    """Variance between the classes over variance within them, float64 (features,), of inputs (n, features); 0 for a constant feature."""
    classes, counts = y.unique(return_counts=True)
    means = torch.stack([x[y == c].mean(0) for c in classes])
    between = (counts[:, None] * (means - x.mean(0)) ** 2).sum(0) / (len(classes) - 1)
    within = torch.stack([((x[y == c] - m) ** 2).sum(0) for c, m in zip(classes, means, strict=True)]).sum(0) / max(
        len(x) - len(classes), 1
    )
    return torch.where(between > 0, between / within.clamp_min(1e-300), 0.0)


def _variance(x: Tensor, y: Tensor) -> Tensor:
    return x.var(0)


def _mutual_information(x: Tensor, y: Tensor) -> Tensor:
    """By nearest neighbours (Ross 2014), as scikit-learn does it."""
    try:
        from sklearn.feature_selection import mutual_info_classif
    except ImportError as error:
        raise Missing("scikit-learn is not installed; pip install 'vauban[sklearn]', or select by='anova'") from error
    return torch.as_tensor(mutual_info_classif(x.cpu().numpy(), y.cpu().numpy(), random_state=0))


RANKINGS = {"anova": f_ratio, "variance": _variance, "mutual-information": _mutual_information}
