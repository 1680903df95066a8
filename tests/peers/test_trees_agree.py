"""On one decision tree the exact attack is never farther than ART's DecisionTreeAttack, which goes on climbing when it has arrived.

ART 1.20 looks for a leaf of another class from the leaf's parent upwards and does not stop at the first; on the digits its changes are many
times the smallest.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vauban.attacks import leaf_tuple, tree_exact
from vauban.doors import Oracle
from vauban.target import Trees
from vauban.threat import Ball, Threat

evasion = pytest.importorskip("art.attacks.evasion", reason="the bench environment has it: benchmarks/environment.sh builds .venv-bench")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.slow


def test_the_exact_attack_is_many_times_nearer_than_arts() -> None:
    from art.estimators.classification import SklearnClassifier
    from sklearn.datasets import load_digits
    from sklearn.tree import DecisionTreeClassifier

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    model = DecisionTreeClassifier(random_state=0).fit(x[:1400], y[:1400])
    some = (model.predict(x[1400:1500]) == y[1400:1500]).nonzero()[0] + 1400
    found = evasion.DecisionTreeAttack(SklearnClassifier(model), verbose=False).generate(x[some])
    theirs = np.linalg.norm(found - x[some], axis=1)
    fooled = model.predict(found) != y[some]
    ours = []
    for attack in (tree_exact(), leaf_tuple()):
        o = Oracle(Trees(model), torch.from_numpy(x[some]), torch.from_numpy(y[some]), Threat("t", Ball(8, "l2", 0, 1)), settle="nearest")
        attack(o)
        ours.append(o.outcome.distance.numpy())
        assert (model.predict(o.outcome.best.numpy()) != y[some]).all()
    print(f"median L2: exact {np.median(ours[0]):.4f}, leaf tuples {np.median(ours[1]):.4f}, ART {np.median(theirs[fooled]):.4f}")
    print(f"mean of ART's distance over the exact: {np.mean(theirs[fooled] / ours[0][fooled]):.1f}")
    assert (ours[0][fooled] <= theirs[fooled] + 1e-6).all()
    assert np.allclose(ours[0], ours[1], rtol=1e-6), "on one tree the leaf-tuple attack is exact too"
    assert np.mean(theirs[fooled] / ours[0][fooled]) > 5
