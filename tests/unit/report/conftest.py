"""Sample records for the tests of the reports: several threats, awkward names, doubts, promises, unfinished and empty runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vauban.campaign.cards import DataCard, TargetCard, ThreatCard
from vauban.campaign.record import AttackResult, Curve, Doubt, Finding, Group, Promise, Record, pack_bits, pack_ids
from vauban.measure.rate import Rate

CLASSES = ("spoof <print>", 'live & "kicking"', "mask' --> </table>")


def attack(label: str, tried: int, broken: int, left: int, **more: Any) -> AttackResult:
    facts: dict[str, Any] = {
        "name": label.split("#", maxsplit=1)[0],
        "settings": {"steps": 40, "step": 0.1},
        "summary": "Projected gradient ascent from a random point of the ball.",
        "paper": "Madry et al. 2018, arXiv:1706.06083",
        "atlas": "AML.T0043.000 White-Box Optimization",
        "nist": "Evasion (white-box)",
        "forwards": 41.0,
        "backwards": 40.0,
        "surrogate_forwards": 0.0,
        "surrogate_backwards": 0.0,
        "seconds": 12.3,
        "distance": 0.0313 if broken else None,
        "first": tuple(1 + (i * 7) % 41 for i in range(broken)),
        "most": 41,
    }
    return AttackResult(label=label, tried=tried, broken=broken, left=left, **(facts | more))


def insider() -> Finding:
    """An untargeted gradient attacker: 400 rows, 372 right when clean, 216 standing at the end."""
    card = ThreatCard("insider", "gradient access, Linf within 8/255, any wrong class", "gradient", "linf", 8 / 255, "any wrong class")
    attacks = (
        attack("gaussian_noise", 372, 3, 369, atlas="", nist="", paper="", settings={"repeats": 10}, backwards=0.0, forwards=10.0, most=10),
        attack(
            "fgsm",
            369,
            71,
            298,
            forwards=2.0,
            backwards=1.0,
            most=2,
            first=tuple([2] * 71),
            paper="Goodfellow et al. 2015, arXiv:1412.6572",
        ),
        attack("pgd", 298, 78, 220),
        attack("pgd#2", 220, 4, 216, surrogate_forwards=1203.4, surrogate_backwards=1200.0, stopped="it ran out of its share of the time"),
    )
    radii = tuple(i / 255 for i in range(0, 17, 2))
    return Finding(
        card,
        robust=Rate(216, 400),
        clean=Rate(372, 400),
        denominator="all rows",
        attacks=attacks,
        curve=Curve(radii, tuple(Rate(max(372 - 39 * i, 20), 400) for i in range(9))),
        classes=tuple(Group(name, Rate(124, 134), Rate(72 - 20 * i, 134)) for i, name in enumerate(CLASSES)),
        groups=(
            Group("camera <A>", Rate(190, 200), Rate(130, 200)),
            Group("camera B", Rate(182, 200), Rate(86, 200)),
            Group("none", Rate(0, 0), Rate(0, 0)),
        ),
        confusion=((72, 41, 21), (30, 72, 31), (12, 49, 72)),
        rounding=Rate(140, 156),
        rows=pack_ids(range(400)),
        held=pack_bits([i < 216 for i in range(400)]),
        doubts=(Doubt("more-steps-help", "the last 10 steps of pgd still broke 4 rows"),),
        seconds=61.2,
    )


def outsider() -> Finding:
    """A directional label-only attacker with a budget: 120 rows attacked, none broken."""
    card = ThreatCard(
        "outsider & co",
        "label access, L2 within 0.5, spoof to live, 1000 queries a row",
        "label",
        "l2",
        0.5,
        "spoof to live",
        False,
        queries=1000.0,
    )
    attacks = (attack("hop_skip_jump", 120, 0, 120, forwards=998.7, backwards=0.0, most=1000, nist="Evasion (black-box)"),)
    return Finding(card, Rate(120, 120), Rate(372, 400), "correctly classified rows of spoof", attacks, seconds=300.0)


def turner() -> Finding:
    """Rotations and translations; nearly everything falls."""
    card = ThreatCard(
        "a name that is much too long for any column of a table in a terminal",
        "gradient access, rotation within 30 degrees, translation within 10% of the frame, any wrong class",
        "gradient",
        "transformations",
        1.0,
        "any wrong class",
    )
    return Finding(
        card, Rate(11, 400), Rate(372, 400), "all rows", (attack("spatial", 372, 361, 11, distance=0.4, forwards=775.0, most=775),)
    )


def nobody() -> Finding:
    """A threat under which no row was eligible."""
    card = ThreatCard(
        "nobody", "none access, L0 within 1, class 0 to class 1", "none", "l0", 1.0, "class 0 to class 1", False, gradients=0.0
    )
    return Finding(
        card,
        Rate(0, 0),
        Rate(372, 400),
        "correctly classified rows of class 0",
        (attack("pgd", 0, 0, 0, most=0, forwards=0.0, backwards=0.0),),
    )


def sample() -> Record:
    return Record(
        title="Liveness <check> & co",
        target=TargetCard("small_cnn", "torch", "gradient", "logits", CLASSES, sha256="ab" * 32, parameters=20490),
        data=DataCard("faces.npz", 400, (1, 8, 8), "cd" * 32, 0.0, 1.0, kind="image", group="camera"),
        findings=(insider(), outsider(), turner()),
        promises=(
            Promise("insider", robust_accuracy=0.45, clean_accuracy=0.95),
            Promise("outsider & co", robust_accuracy=0.9),
            Promise("a name that is much too long for any column of a table in a terminal", robust_accuracy=0.2),
        ),
        doubts=(Doubt("not-deterministic", "2 of 64 rows answered differently when asked twice"),),
        seed=7,
        plan_sha256="ef" * 32,
        command="vauban audit vauban.toml",
        started="2026-03-01T10:00:00+00:00",
        seconds=373.5,
        versions={"vauban": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
        git="0123abc, clean",
    )


@pytest.fixture
def record() -> Record:
    """Three threats, promises kept, broken and doubted."""
    return sample()


@pytest.fixture
def empty_rows(record: Record) -> Record:
    """A threat with no eligible row, with a promise on it and one on a threat that was never tried."""
    return replace(record, findings=(nobody(),), promises=(Promise("nobody", 0.5), Promise("missing", 0.5)), doubts=())


@pytest.fixture
def unpromised(record: Record) -> Record:
    return replace(record, promises=(), doubts=())


@pytest.fixture
def unfinished(record: Record) -> Record:
    return replace(record, complete=False, findings=(record.findings[0],), promises=record.promises[:1])


@pytest.fixture
def records(record: Record, empty_rows: Record, unpromised: Record, unfinished: Record) -> dict[str, Record]:
    """Every kind of record, by name, one without findings too."""
    bare = replace(record, findings=(), promises=(), doubts=())
    return {"full": record, "empty rows": empty_rows, "unpromised": unpromised, "unfinished": unfinished, "bare": bare}


@pytest.fixture
def gallery_arrays() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    """A builder of the arrays of a gallery file."""

    def build(n: int = 4, shape: tuple[int, ...] = (1, 8, 8)) -> dict[str, np.ndarray[Any, Any]]:
        random = np.random.default_rng(0)
        clean = random.random((n, *shape), dtype=np.float32)
        return {
            "clean": clean,
            "adversarial": np.clip(clean + random.uniform(-0.03, 0.03, clean.shape).astype(np.float32), 0, 1),
            "label": np.arange(n) % 3,
            "clean_answer": np.arange(n) % 3,
            "adversarial_answer": (np.arange(n) + 1) % 3,
            "clean_score": np.linspace(0.6, 0.99, n),
            "adversarial_score": np.full(n, np.nan),
            "distance": np.full(n, 0.03),
            "row": np.arange(n) * 3,
            "attack": np.array(["pgd<1>"] * n),
        }

    return build
