"""A guard's day for the console's tests: a database with decisions, an attack in the last two hours, locks, clusters, alerts and a roll-out."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import uvicorn
from sqlalchemy import insert

from vauban.guard.alerts import acknowledge, alert
from vauban.guard.config import GuardFile
from vauban.guard.config.model import Operator, Webhook
from vauban.guard.console import console_app
from vauban.guard.keys import Keys
from vauban.guard.ledger import Ledger
from vauban.guard.limits.log import Log
from vauban.guard.limits.reserve import key_of
from vauban.guard.limits.tables import attempts, limits, locks
from vauban.guard.metrics import Metrics
from vauban.guard.rotation.tables import ensembles, gates, moves, tallies
from vauban.guard.storage import Store, Transaction
from vauban.guard.watch import Watch
from vauban.guard.watch.calibration import Calibration, Rate, Scores
from vauban.guard.watch.monitors import counted, followed, monitors_of
from vauban.guard.watch.tables import clusters, monitors, prints, streams

OPERATORS = {"vera": "viewer", "otto": "operator", "anna": "approver"}
MODELS = ("cnn-a", "vit-b")


@dataclass(frozen=True)
class Scene:
    """A guard, as far as the console needs one."""

    config: GuardFile
    keys: Keys
    store: Store
    ledger: Ledger
    metrics: Metrics
    watch: Watch


def scene(store: Store, keys: Keys, folder: Path, calibration: Calibration | None = None, **config: object) -> Scene:
    """A guard with three operators, whose keys are their names with a dash and 32 x."""
    who = tuple(Operator(name=n, key_sha256=sha256(key_of_operator(n).encode()).hexdigest(), role=r) for n, r in OPERATORS.items())  # type: ignore[arg-type]
    file = GuardFile.model_validate({"name": "liveness", "operator": who, **config}).read_from(folder)
    return Scene(file, keys, store, Ledger(keys, "node-a"), Metrics(), Watch(keys, file.watch, calibration))


def key_of_operator(name: str) -> str:
    return f"{name}-{'x' * 32}"


def calibration() -> Calibration:
    """What a quiet day of two models is like."""
    rng = np.random.default_rng(1)
    found: dict[str, Scores] = {}
    for i, name in enumerate(MODELS):
        scores = quiet(rng, rng.random(4000) > 0.08, i)
        counts = tuple(int(c) for c in np.bincount(scores + 127, minlength=255))
        edges = tuple(int(e) for e in np.quantile(scores, [0.1 * k for k in range(1, 10)]))
        edges = tuple(sorted(set(edges)))
        shares = np.histogram(scores, [-128, *[e + 0.5 for e in edges], 128])[0] / scores.size
        near = float((np.abs(scores) <= 8).mean())
        close = Rate(int(near * 4000), 4000, near * 0.7, near * 1.3)
        found[name] = Scores(counts, 8, close, edges, tuple(shares), tuple(shares * 0.8), tuple(np.minimum(1, shares * 1.2)))
    rejects, splits = Rate(330, 4000, 0.06, 0.105), Rate(80, 4000, 0.014, 0.028)
    return Calibration(
        (112, 112), 4000, _likeness(), rejects={"e" * 64: rejects}, splits={"e" * 64: splits}, models=found, made="2026-11-02"
    )


def _likeness() -> object:
    from vauban.guard.watch.calibration import Likeness

    return Likeness(history=3000)


def quiet(rng: np.random.Generator, live: np.ndarray, shift: int = 0) -> np.ndarray:
    """Scores of a model on people who are live, and on others."""
    n = live.size
    scores = np.where(live, rng.normal(62 - 6 * shift, 18, n), rng.normal(-58, 20, n))
    return np.clip(np.round(scores), -127, 127).astype(int)


def seed(scene: Scene, decisions: int = 3000) -> None:
    """Fill the database."""
    rng = np.random.default_rng(7)
    with scene.store.write() as tx:
        now = tx.now()
        _decisions(tx, scene, rng, now, decisions)
        _locks(tx, now)
        _clusters(tx, rng, now)
        _ensembles(tx, now)
        _alerts(tx)
    with scene.store.write() as tx:
        scene.ledger.append(tx, "rotation", {"ensemble": "autumn", "before": "canary", "after": "live", "by": "anna", "why": "gate passed"})
        for i in range(60):
            scene.ledger.append(
                tx, "decision", {"attempt": i + 1, "accept": i % 9 != 0, "device": hashed(i % 20), "flags": [], "scores": {"cnn-a": 61}}
            )
    scene.ledger.checkpoint(scene.store, scene.config.beside(scene.config.ledger.anchor))


def hashed(value: object) -> str:
    return sha256(str(value).encode()).hexdigest()[:32]


def _decisions(tx: Transaction, scene: Scene, rng: np.random.Generator, now: float, n: int) -> None:
    hours = rng.beta(2.4, 1.8, n) * 23.9
    times = np.sort(now - 23.95 * 3600 + hours * 3600)
    attack = (times > now - 2.5 * 3600) & (rng.random(n) < 0.45)
    told: list[tuple[float, dict[str, object]]] = []
    rows: list[dict[str, object]] = []
    live = rng.random(n) > 0.08
    scores = [quiet(rng, live, i) for i in range(2)]
    for i, at in enumerate(times):
        mine = [int(np.clip(rng.normal(-2, 5), -127, 127)) if attack[i] else int(s[i]) for s in scores]
        accept = all(v > 0 for v in mine)
        flags = ["near", "cluster"] if attack[i] and rng.random() < 0.7 else ["near"] if rng.random() < 0.004 else []
        device = hashed(f"bad{i % 14}" if attack[i] else int(rng.integers(1400)))
        told.append(
            (
                float(at),
                {
                    "ensemble": "e" * 64,
                    "accept": accept,
                    "scores": dict(zip(MODELS, mine, strict=True)),
                    "flags": flags,
                    "outside": None,
                    "quorum": accept,
                    "votes": accept,
                },
            )
        )
        rows.append({
            "session": hashed(f"s{i}") * 2, "seq": 1, "nonce": f"n{i}", "party": "bank", "device": device, "account": hashed(f"a{device}"),
            "network": hashed(f"net{int(device[:4], 16) % 40}"), "at": float(at), "node": "node-a", "ensemble": "e" * 64, "state": "decided",
            "accept": accept, "decided_at": float(at) + 0.03, "scores": json.dumps(told[-1][1]["scores"]), "votes": "{}",
            "flags": json.dumps(flags), "seconds": float(rng.gamma(9, 0.0025)),
        })  # fmt: skip
    rows[5] |= {"state": "failed", "accept": None, "decided_at": None, "seconds": None, "scores": None, "votes": None, "flags": None}
    tx.run(insert(attempts), rows)
    _monitors(tx, scene, told)
    all_ = Log((now,), (n,))
    tx.run(insert(limits).values(key=key_of("everyone", ""), log=all_.packed(), until=now + 86400))
    _limits(tx, rows, now)


def _monitors(tx: Transaction, scene: Scene, told: list[tuple[float, dict[str, object]]]) -> None:
    for monitor in monitors_of(scene.watch.calibration):
        state, log_e = None, 0.0
        for start in range(0, len(told), 50):
            found = followed(monitor, state, told[start : start + 50])
            if found is not None:
                state, log_e = found.state, found.log_e
        if state is not None:
            tx.run(insert(monitors).values(name=monitor.name, version=1, at=told[-1][0], log_e=log_e, state=json.dumps(state)))
    for model in MODELS:
        histogram = counted(None, [(at, t["scores"][model]) for at, t in told])  # type: ignore[index]
        tx.run(insert(monitors).values(name=f"histogram:{model}", version=1, at=told[-1][0], log_e=0.0, state=json.dumps(histogram)))
    tx.run(insert(monitors).values(name="turn", version=9, at=0.0, log_e=0.0, state="{}"))


def _limits(tx: Transaction, rows: list[dict[str, object]], now: float) -> None:
    made: list[dict[str, object]] = []
    for scope, most, window in (("device", 10, 86400.0), ("account", 20, 86400.0), ("network", 60, 3600.0), ("party", 10**6, 86400.0)):
        of: dict[str, list[float]] = {}
        for row in rows:
            if row["decided_at"]:
                of.setdefault(str(row[scope]), []).append(float(row["at"]))  # type: ignore[arg-type]
        for key, stamps in of.items():
            kept = sorted({s for s in stamps if s > now - window})[:most]
            made.append({"key": key_of(scope, key), "log": Log(tuple(kept), (1,) * len(kept)).packed(), "until": now + window})
    tx.run(insert(limits), made)


def _locks(tx: Transaction, now: float) -> None:
    def put(device: str, since: float, until: float | None, why: str, released: float | None = None) -> None:
        told = {
            "device": hashed(device),
            "since": now - since,
            "until": until and now + until,
            "cleared": now - since,
            "reason": why,
            "by": "guard",
        }
        tx.run(insert(locks).values(released=released and now - released, released_by="otto" if released else None, **told))

    put("bad1", 300, 1500, "5 rejections")
    put("bad2", 900, 900, "5 rejections")
    put("bad3", 3600, None, "3 locks")
    put("bad3", 9000, -7200, "5 rejections")
    put("bad4", 90000, None, "3 locks", released=40000)


def _clusters(tx: Transaction, rng: np.random.Generator, now: float) -> None:
    sizes = [(96, 14, 31.0), (9, 4, 8.1), (5, 3, 4.2), (2, 2, 0.9), (2, 2, 0.7)]
    for number, (size, identities, log_e) in enumerate(sizes, 1):
        first = now - 2.4 * 3600 + number * 60
        told = {"id": number, "size": size, "identities": identities, "accepted": size // 12, "first": first, "last": now - 60 * number}
        tx.run(insert(clusters).values(upto=size, evidence="[0,0,0]", log_e=log_e, alarmed=log_e > math.log(1e6), **told))
        rows: list[dict[str, object]] = []
        for i in range(size):
            who = hashed(f"bad{i % identities}")
            mine = {
                "attempt": 100 * number + i,
                "at": first + 80.0 * i,
                "device": who,
                "identity": hashed(f"a{who}"),
                "network": hashed(i % 3),
            }
            rows.append({"sketch": b"", "thumb": b"", "accept": i % 12 == 0, "cluster": number, **mine})
        tx.run(insert(prints), rows)
    told = {
        "kind": "cluster",
        "key": "1",
        "at": now,
        "upto": 96,
        "queries": 96,
        "normality": 0.812,
        "distances": 95,
        "log_e": 2.0,
        "state": "[]",
    }
    tx.run(insert(streams).values(**told))


def _ensembles(tx: Transaction, now: float) -> None:
    day = 86400.0

    def put(id_: str, name: str, state: str, families: list[str], live: float | None, queries: int, percent: float = 0.0) -> None:
        told = {"registered_at": now - (live or 3) * day - 3 * day, "live_at": None if live is None else now - live * day}
        told |= {"retired_at": now - 71 * day if state == "retired" else None}
        tx.run(
            insert(ensembles).values(
                id=id_, name=name, state=state, families=json.dumps(families), queries=queries, percent=percent, **told
            )
        )

    put("e" * 64, "autumn", "live", ["residual", "transformer"], 71, 84210)
    put("d" * 64, "winter", "canary", ["convolutional", "mixer"], None, 1312, 10.0)
    put("c" * 64, "summer", "retired", ["mobile", "residual"], 160, 121004)
    for at, who, before, after, by, why, percent in (
        (160, "c", "canary", "live", "anna", "the first ensemble", 0.0),
        (71, "c", "live", "retired", "anna", "replaced by autumn", 0.0),
        (71, "e", "canary", "live", "anna", "gate passed", 0.0),
        (5, "d", "registered", "shadow", "anna", "", 0.0),
        (2, "d", "shadow", "canary", "anna", "shadow agrees", 10.0),
    ):
        tx.run(insert(moves).values(at=now - at * day, ensemble=who * 64, before=before, after=after, percent=percent, by=by, why=why))
    for ensemble, kind, rows, accepted, failed, apart in (
        ("d", "shadow", 1204, 1101, 0, 19),
        ("d", "canary", 312, 281, 0, 0),
        ("e", "canary", 2790, 2547, 1, 0),
    ):
        tx.run(
            insert(tallies).values(
                successor="d" * 64, ensemble=ensemble * 64, kind=kind, rows=rows, accepted=accepted, failed=failed, apart=apart
            )
        )
    findings = [
        {"name": "families", "verdict": "holds", "text": "convolutional, mixer; the last two had residual, transformer, mobile"},
        {"name": "live rows", "verdict": "holds", "text": "4 of 1,000 live pictures are rejected only by it, 6 only by the retiring one"},
        {"name": "transfer", "verdict": "holds", "text": "3.1 % of 400 adversarial examples still fool it; 10 % are allowed"},
    ]
    tx.run(insert(gates).values(at=now - 6 * day, ensemble="d" * 64, retiring="e" * 64, holds=True, findings=json.dumps(findings)))


def _alerts(tx: Transaction) -> None:
    old = alert(tx, "accept-rate", "warning", {"rate": 0.71, "usual": [0.88, 0.94]})
    acknowledge(tx, old, "otto", "a load test of the bank; agreed with them")
    alert(tx, "cluster:1", "critical", {"cluster": 1, "size": 41, "identities": 9, "accepted": 3, "log_e": 14.2})
    alert(tx, "cluster:1", "critical", {"cluster": 1, "size": 96, "identities": 14, "accepted": 8, "log_e": 31.0})
    alert(tx, "close:cnn-a", "critical", {"log_e": 15.1, "line": 13.8, "seen": 2210, "sum": 171})
    alert(tx, "rotation:autumn", "notice", {"days": 72.1, "allowed": 90})


@contextmanager
def served(scene: Scene) -> Iterator[str]:
    """The console on a real port; its address."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(console_app(scene), log_config=None, server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [held]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


WEBHOOK = Webhook(url="https://hooks.example/secret-path", secret_env="HOOK")
