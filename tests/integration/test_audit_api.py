"""`vauban.audit` on a small network: the same whatever the chunks and the order, honest about limits, silent about inputs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import vauban
from vauban import Ball, Goal, Record, Threat, Verdict
from vauban.attacks import find
from vauban.campaign.api import as_attack
from vauban.campaign.doubts.evidence import time_limit
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.run import audit_plan
from vauban.campaign.run.table import SCHEMA
from vauban.campaign.verdict import verdict
from vauban.data import Rows
from vauban.errors import BadData, BadPlan, BadRun, BadTarget
from vauban.report.numbers import slug

CENTRES = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.5, 0.75, 0.5, 0.5]])


@pytest.fixture(scope="module")
def blobs() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Three blobs in four dimensions, and a small network that tells them apart."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = torch.arange(48) % 3
        x = (CENTRES[y] + 0.07 * torch.randn(48, 4)).clamp(0, 1)
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        optimiser = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(150):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model, x, y


audit = partial(vauban.audit, doubters=())
INSIDER = Threat("insider", Ball(0.12))
FEW = ("uniform-noise", "fgsm", find("pgd").bind(steps=10), find("fmn").bind(steps=20))


def timeless(record: Record) -> Record:
    findings = tuple(replace(f, seconds=0.0, attacks=tuple(replace(a, seconds=0.0) for a in f.attacks)) for f in record.findings)
    return replace(record, findings=findings, seconds=0.0, started="", plan_sha256="")


def test_chunks_of_3_and_of_100_give_the_same_verdicts(blobs: Any) -> None:
    model, x, y = blobs
    small, large = (audit(model, x, y, INSIDER, attacks=FEW, chunk=c)["insider"] for c in (3, 100))
    assert 0 < large.robust.hits < large.robust.rows
    assert small.standing() == large.standing()
    assert (small.confusion, small.classes, small.clean) == (large.confusion, large.classes, large.clean)
    assert [(a.label, a.tried, a.broken, a.left, a.first, a.most) for a in small.attacks] == [
        (a.label, a.tried, a.broken, a.left, a.first, a.most) for a in large.attacks
    ]


def test_the_order_of_the_rows_changes_no_verdict(blobs: Any) -> None:
    model, x, y = blobs
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    data = Rows(x, y, ("a", "b", "c"), torch.arange(len(x)))
    bound = tuple(as_attack(a) for a in FEW)
    plan = Plan("order", vauban.Torch(model), data, (Siege(INSIDER, bound),), chunk=7)
    mixed = replace(plan, data=Rows(x[order], y[order], ("a", "b", "c"), order))
    straight, shuffled = audit_plan(plan, doubters=())["insider"], audit_plan(mixed, doubters=())["insider"]
    assert straight.standing() == shuffled.standing()
    assert straight.rows == shuffled.rows == "0-47"


def test_two_runs_are_the_same_but_for_the_time(blobs: Any, tmp_path: Path) -> None:
    model, x, y = blobs
    memory = audit(model, x, y, INSIDER, attacks=FEW, chunk=20)
    disk = audit(model, x.numpy(), y.numpy(), INSIDER, attacks=FEW, chunk=20, folder=tmp_path)
    assert timeless(memory) == timeless(disk)
    (folder,) = tmp_path.iterdir()
    assert Record.read(folder) == disk
    written = {p.name for p in folder.iterdir()}
    files = {"plan.json", "events.jsonl", "record.json", "report.html", "junit.xml", "findings.sarif", "evidence.json", "evidence.md"}
    assert written == files | {"chunks", "rows", "adversarial", "gallery"}
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["plan_sha256"] == disk.plan_sha256 == memory.plan_sha256


def test_a_promise_that_changes_needs_no_new_attack(blobs: Any, tmp_path: Path) -> None:
    model, x, y = blobs
    kept = audit(model, x, y, INSIDER, attacks=["fgsm"], promises={"insider": 0.1}, folder=tmp_path)
    events: list[Any] = []
    broken = audit(model, x, y, INSIDER, attacks=["fgsm"], promises={"insider": 0.99}, folder=tmp_path, progress=events.append)
    assert len(list(tmp_path.iterdir())) == 1
    assert events[0].complete
    assert kept.holds
    assert verdict(broken) is Verdict.BREACHED
    assert not Record.read(next(tmp_path.iterdir())).holds
    assert "breached" in repr(broken)


def test_a_folder_without_inputs_holds_none(blobs: Any, tmp_path: Path) -> None:
    """The same run with inputs says which bytes to look for."""
    model, x, y = blobs
    audit(model, x, y, INSIDER, attacks=FEW, folder=tmp_path / "with", chunk=20)
    audit(model, x, y, INSIDER, attacks=FEW, folder=tmp_path / "without", chunk=20, keep_inputs=False)
    saved = [load_file(f)["x"] for f in (tmp_path / "with").glob("*/adversarial/insider/*.safetensors")]
    values = torch.cat([*saved, x]).flatten().tolist()
    assert holding(tmp_path / "with", values)
    assert not holding(tmp_path / "without", values)
    (folder,) = (tmp_path / "without").iterdir()
    assert not (folder / "adversarial").exists()
    assert not (folder / "gallery").exists()
    (table, *_) = (pq.read_table(f) for f in folder.glob("rows/insider/*.parquet"))
    assert set(table.column_names) == set(SCHEMA.names)


def holding(folder: Path, values: list[float]) -> list[Path]:
    """The files that hold one of the values, as float32, as float64 or written out."""
    forms = [f for v in values if v not in (0.0, 1.0) for f in (np.float32(v).tobytes(), np.float64(v).tobytes(), f"{v:.7f}".encode())]
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".parquet"]
    return [p for p in files if any(f in p.read_bytes() for f in forms)]


def test_a_time_limit_that_is_hit_is_recorded_and_a_doubt(blobs: Any) -> None:
    model, x, y = blobs
    limited = replace(INSIDER, seconds=1e-6)
    record = audit(model, x, y, limited, attacks=FEW, promises={"insider": 0.1}, chunk=20, doubters=(time_limit,))
    found = record["insider"]
    assert {a.stopped for a in found.attacks} == {"time limit"}
    assert found.robust == found.clean
    assert [d.name for d in found.doubts] == ["time-limit"]
    assert verdict(record) is Verdict.INCONCLUSIVE


def test_a_time_limit_in_the_midst_stops_between_questions(blobs: Any) -> None:
    model, x, y = blobs
    endless = find("pgd").bind(steps=10_000_000, step=1e-6)
    found = audit(model, x, y, replace(INSIDER, seconds=0.5), attacks=[endless, "fgsm"])["insider"]
    assert [a.stopped for a in found.attacks] == ["time limit", "time limit"]
    assert found.attacks[1].tried == 0
    assert found.seconds < 10


def test_a_model_that_answers_nothing_finite_is_refused_in_one_sentence(blobs: Any) -> None:
    _, x, y = blobs

    class Nan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :3] * self.w * torch.nan

    with pytest.raises(BadTarget, match="finite"):
        audit(Nan(), x, y, INSIDER)


def test_a_model_that_is_nan_for_some_rows_is_judged_on_the_whole_whatever_the_chunks(blobs: Any) -> None:
    model, x, y = blobs

    class Some(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.inner(x)
            return torch.where((x[:, 1] > 0.72)[:, None], torch.nan, z)

    bad = int((x[:, 1] > 0.72).sum())
    assert 3 < bad < 24
    order = (x[:, 1] <= 0.72).int().argsort(stable=True)  # all rows with NaN first, so that whole chunks have nothing else
    small, large = (audit(Some(), x[order], y[order], INSIDER, attacks=["fgsm"], chunk=c)["insider"] for c in (3, 100))
    assert small.standing() == large.standing()
    assert small.clean.hits <= 48 - bad


def test_a_full_disk_is_one_sentence_and_what_was_finished_is_kept(blobs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = blobs
    from vauban.campaign.run import store

    real, written = store.write_atomically, []

    def full(path: Path, content: bytes) -> None:
        if len(list(tmp_path.glob("*/chunks/insider/*.json"))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        real(path, content)

    def audited() -> Record:
        return audit(model, x, y, INSIDER, attacks=["fgsm"], chunk=12, folder=tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomically", full)
        with pytest.raises(BadRun, match="the disk is full; what was finished is kept"):
            audited()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/chunks/insider/*.json")}
    assert len(kept) == 2
    assert audited().complete
    assert all(p.stat().st_mtime_ns == t for p, t in kept.items())


def test_threats_stand_apart_and_their_files_do_not_collide(blobs: Any, tmp_path: Path) -> None:
    model, x, y = blobs
    threats = [Threat("a & b", Ball(0.05)), Threat("a | b", Ball(0.3)), Threat("to b", Ball(0.3), goal=Goal.directional([0, 2], 1))]
    record = audit(model, x, y, threats, attacks=["fgsm"], folder=tmp_path)
    assert record["a & b"].robust.value > record["a | b"].robust.value
    assert record["to b"].robust.rows == int((y != 1).sum())
    assert sorted(p.name for p in next(tmp_path.iterdir()).glob("rows/*")) == sorted(slug(t.name) for t in threats)


def test_an_unbounded_threat_gives_a_record_that_can_be_read_again(blobs: Any, tmp_path: Path) -> None:
    model, x, y = blobs
    record = audit(model, x, y, Threat("any size", Ball(norm=2)), attacks=["ddn"], folder=tmp_path)
    assert record["any size"].robust.hits == 0
    assert Record.read(next(tmp_path.iterdir())) == record
    assert record["any size"].threat.eps is None
    assert record["any size"].threat.radius == float("inf")


def test_estimators_and_functions_are_taken_as_they_are(blobs: Any) -> None:
    model, x, y = blobs
    from sklearn.linear_model import LogisticRegression

    score = Threat("outsider", Ball(0.1), access=vauban.Access.SCORE)
    estimator = LogisticRegression().fit(x.numpy(), y.numpy())
    assert audit(estimator, x, y, score, suite="baselines")["outsider"].clean.value > 0.8

    def scores(x: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(x)).detach().numpy()

    record = audit(scores, x, y, Threat("thief", Ball(0.12)), attacks=["fgsm"], surrogate=vauban.Own(vauban.Torch(model)))
    direct = audit(model, x, y, Threat("thief", Ball(0.12)), attacks=["fgsm"])
    assert record["thief"].standing() == direct["thief"].standing()
    assert record["thief"].attacks[0].surrogate_backwards == 1


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (audit, BadPlan, "no threat: say what"),
        (lambda m, x, y: audit(m, x, y, INSIDER, promises={"insder": 0.5}), BadPlan, "did you mean 'insider'"),
        (lambda m, x, y: audit(m, x, y, INSIDER, promises={"insider": 45}), BadPlan, "must be a share"),
        (lambda m, x, y: audit(m, x, y, INSIDER, promises={"insider": {"robust": 1}}), BadPlan, "did you mean 'robust_accuracy'"),
        (lambda m, x, y: audit(m, x, y, INSIDER, attacks=["pdg"]), BadPlan, "did you mean 'pgd'"),
        (lambda m, x, y: audit(m, x, y, INSIDER, suite="standrad"), BadPlan, "did you mean 'standard'"),
        (lambda m, x, y: audit(m, x, y, INSIDER, attacks=[]), BadPlan, "has no attack"),
        (lambda m, x, y: audit(3, x, y, INSIDER), BadTarget, "the target is int"),
        (lambda m, x, y: audit(m, x * 2, y, INSIDER), BadData, "outside"),
        (lambda m, x, y: audit(m, x, y[:-1], INSIDER), BadData, "48 inputs and 47 labels"),
        (lambda m, x, y: audit(m, x, y + 1, INSIDER), BadData, "label 3 is out of range"),
    ],
)
def test_what_cannot_be_done_gets_one_clear_sentence(blobs: Any, call: Callable[..., Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        call(*blobs)
    assert "\n" not in str(caught.value)
