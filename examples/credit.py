"""A credit score under attack by applicants: what may an applicant change, and what must stay true of an application?

python examples/credit.py
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

import vauban
from vauban import Feature, Features, Threat

rng = np.random.default_rng(0)
n = 2000
amount, income = rng.uniform(2_000, 30_000, n).round(), rng.uniform(15_000, 120_000, n).round()
term = rng.choice([36.0, 60.0], n)
instalment = amount / term * 1.1
accounts, late = rng.integers(1, 20, n), rng.poisson(1.0, n).clip(0, 12)
age = rng.integers(18, 80, n)
purpose = np.eye(3)[rng.integers(0, 3, n)]
x = np.column_stack([amount, income, term, instalment, accounts, late, age, purpose]).astype(np.float32)
risk = 25 * instalment / income * 12 + late - 0.05 * accounts + 0.8 * purpose[:, 2] + rng.normal(0, 0.3, n)
y = (risk > np.median(risk)).astype(int)  # 1 is "defaults"

# What an applicant can do. A change of 1 is the whole range of a feature unless a scale says otherwise.
columns = [
    Feature("amount", 2_000, 30_000),
    Feature("income", 15_000, 120_000, scale=200_000),  # hard to overstate: it counts half
    Feature("term", 36, 60, "integer"),
    Feature("instalment", 0, 1_000),
    Feature("accounts", 0, 30, "integer", "up"),  # one can open accounts
    Feature("late", 0, 12, "integer", "none"),  # and not undo late payments
    Feature("age", 18, 100, "integer", "none"),
    *(Feature(name, kind="category", group="purpose", scale=10) for name in ("car", "home", "other")),
]
relations = ["instalment == amount / term * 1.1", "term in (36, 60)", "instalment <= income / 12"]
allowed = Features(columns, 0.1, "l2", relations=relations)
approved = vauban.Goal.directional(1, 0)  # those who would be refused want to be approved

forest = RandomForestClassifier(20, max_depth=6, random_state=0).fit(x[:1700], y[:1700])
outsider = Threat("applicant", allowed, access=vauban.Access.SCORE, goal=approved, queries=500)
insider = Threat("insider", allowed, goal=approved)
for target, threat in ((vauban.Sklearn(forest), outsider), (vauban.Trees(forest), insider)):
    record = vauban.audit(target, x[1700:1740], y[1700:1740], threat)
    finding = record[threat.name]
    print(f"{threat.name}: {', '.join(a.label for a in finding.attacks)}")
    print(f"  refused applicants who stay refused: {finding.robust.text()}")
