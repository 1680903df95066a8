"""A scikit-learn pipeline as a black box: what does an attacker break who only tries things, and never sees the model?

python examples/black_box_sklearn.py
"""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import vauban
from vauban import Access, Ball, Threat

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=300, random_state=0)
pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=30, random_state=0)).fit(x_train, y_train)

# The attacker sees labels at most; the suite "baselines" needs not even those.
target = vauban.restrict(vauban.Sklearn(pipeline), "label")
threat = Threat("tinkerer", Ball("2/16"), access=Access.LABEL)
record = vauban.audit(target, x_test, y_test, threat, suite="baselines")

finding = record["tinkerer"]
print(f"clean accuracy {finding.clean.text()}")
print(f"under {', '.join(attack.label for attack in finding.attacks)}: {finding.robust.text()}")
