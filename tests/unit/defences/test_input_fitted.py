"""Steps that are fitted on clean rows: principal components and selected features against scikit-learn, the autoencoder against noise."""

from __future__ import annotations

import pytest
import torch
from broken_defences import digits, torch_target, undefended
from sklearn.decomposition import PCA
from sklearn.feature_selection import f_classif, mutual_info_classif

from vauban.defences import Clean, denoising_autoencoder, feature_selection, find, pca
from vauban.defences.input.denoising_autoencoder import Denoised
from vauban.defences.input.feature_selection import Selected, f_ratio
from vauban.defences.input.pca import Projection
from vauban.errors import BadData, BadPlan

DIGITS, LABELS = digits()
CLEAN = Clean(DIGITS[:400], LABELS[:400])


@pytest.mark.parametrize("keep", [1, 10, 64, 0.5, 0.9])
def test_the_projection_is_scikit_learns(keep: float) -> None:
    ours = Projection.fitted(CLEAN.x, keep)
    theirs = PCA(n_components=keep, svd_solver="full").fit(CLEAN.x.flatten(1).double().numpy())
    assert len(ours.basis) == theirs.n_components_
    x = DIGITS[400:450]
    wanted = theirs.inverse_transform(theirs.transform(x.flatten(1).double().numpy()))
    assert torch.allclose(ours(x).flatten(1).double(), torch.from_numpy(wanted), atol=1e-5)


def test_the_projection_is_one_and_linear() -> None:
    step, x, other = Projection.fitted(CLEAN.x, 20), DIGITS[400:420], DIGITS[420:440]
    assert torch.allclose(step(step(x)), step(x), atol=1e-5)
    assert torch.allclose(step(0.3 * x + 0.7 * other), 0.3 * step(x) + 0.7 * step(other), atol=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_f_ratio_is_scikit_learns() -> None:
    with pytest.warns(UserWarning, match="constant"):
        theirs = torch.from_numpy(f_classif(CLEAN.x.flatten(1).double().numpy(), CLEAN.y.numpy())[0]).nan_to_num(0)
    assert torch.allclose(f_ratio(CLEAN.x.flatten(1).double(), CLEAN.y), theirs, rtol=1e-6)


def test_features_are_kept_by_what_they_are_worth() -> None:
    told = torch.from_numpy(mutual_info_classif(CLEAN.x.flatten(1).double().numpy(), CLEAN.y.numpy(), random_state=0))
    for by, worth in (("variance", CLEAN.x.flatten(1).double().var(0)), ("mutual-information", told)):
        step = Selected.fitted(CLEAN, 20, by)  # type: ignore[arg-type]
        kept = step.kept.flatten()
        assert int(kept.sum()) == 20
        assert float(worth[kept].min()) >= float(worth[~kept].max())


def test_features_that_are_not_kept_are_their_mean_and_have_no_gradient() -> None:
    step = Selected.fitted(CLEAN, 0.25, "anova")
    leaf = DIGITS[400:410].clone().requires_grad_()
    seen = step(leaf)
    assert torch.equal(seen[:, step.kept], leaf[:, step.kept])
    assert torch.allclose(seen[:, ~step.kept], CLEAN.x.mean(0)[~step.kept].expand(10, -1))
    seen.sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, step.kept.float().expand(10, -1, -1, -1))


@pytest.mark.parametrize("flat", [False, True])
def test_the_autoencoder_takes_noise_out(flat: bool) -> None:
    x = CLEAN.x.flatten(1) if flat else CLEAN.x
    step = Denoised.fitted(x, 0.2, 20, 16, 0)
    clean = DIGITS[400:600].flatten(1) if flat else DIGITS[400:600]
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert float((step(noisy) - clean).pow(2).mean()) < 0.7 * float((noisy - clean).pow(2).mean())


def test_the_same_seed_fits_the_same_autoencoder_and_leaves_the_callers_noise_alone() -> None:
    base = torch_target(undefended())
    torch.manual_seed(3)
    first = denoising_autoencoder(epochs=1).around(base, CLEAN).sha256()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
    assert denoising_autoencoder(epochs=1).around(base, CLEAN).sha256() == first
    assert denoising_autoencoder(epochs=1, seed=1).around(base, CLEAN).sha256() != first


@pytest.mark.parametrize(
    ("name", "settings", "rows", "why"),
    [
        ("pca", {"keep": 50}, slice(0, 40), "cannot be fitted on 40 clean rows with 50 components; give 51"),
        ("pca", {"keep": 100}, slice(0, 200), "these inputs have 64 features"),
        ("feature-selection", {}, slice(0, 5), "cannot be fitted on 5 clean rows"),
        ("feature-selection", {"keep": 65}, slice(0, 200), "these inputs have 64 features"),
        ("denoising-autoencoder", {}, slice(0, 20), "give 50 or more"),
    ],
)
def test_too_little_to_fit_on_is_said(name: str, settings: dict[str, object], rows: slice, why: str) -> None:
    with pytest.raises(BadData, match=why):
        find(name)(**settings).around(torch_target(undefended()), (CLEAN.x[rows], CLEAN.y[rows]))


def test_rows_that_tell_nothing_and_other_shapes_are_refused() -> None:
    base = torch_target(undefended())
    with pytest.raises(BadData, match="all clean rows are alike"):
        pca(keep=0.9).around(base, (CLEAN.x[:1].expand(60, -1, -1, -1), CLEAN.y[:60]))
    with pytest.raises(BadData, match="one class"):
        feature_selection().around(base, (CLEAN.x[:60], torch.zeros(60, dtype=torch.long)))
    with pytest.raises(BadPlan, match="fitted on clean rows"):
        pca().around(base)
    for step in (Projection.fitted(CLEAN.x, 5), Selected.fitted(CLEAN, 5, "variance"), Denoised.fitted(CLEAN.x, 0.1, 1, 4, 0)):
        with pytest.raises(BadData):
            step(torch.rand(2, 1, 9, 9))
