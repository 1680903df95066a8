"""Metrics: counts of all processes together, where the database stands, and nothing about a single device."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from console_worlds import calibration, scene, seed
from prometheus_client.parser import text_string_to_metric_families as families

from vauban.errors import BadGuard
from vauban.guard.gauges import gauges
from vauban.guard.keys import Keys
from vauban.guard.metrics import Metrics, shared
from vauban.guard.refusal import Code
from vauban.guard.storage import Store


def samples(page: bytes) -> dict[tuple[str, str], float]:
    """Every sample by its name and its labels' values."""
    return {(s.name, "/".join(s.labels.values())): s.value for f in families(page.decode()) for s in f.samples}


@pytest.fixture
def busy(sqlite_url: str, keys: Keys, tmp_path: Path) -> Store:
    """The database of a guard with a day behind it."""
    store = Store(sqlite_url)
    store.create()
    seed(scene(store, keys, tmp_path, calibration()), decisions=200)
    return store


def test_what_happens_is_counted() -> None:
    metrics = Metrics()
    metrics.decided(True, 0.03)
    metrics.decided(False, 0.03)
    metrics.decided(False, 5.0)
    metrics.refused(Code.LIMITED, "device: 10 of 10")
    metrics.refused(Code.REPLAY)
    metrics.flagged("near")
    metrics.unavailable()
    metrics.voteless("cnn-a")
    found = samples(metrics.page())
    assert found[("vauban_attempts_total", "accept")] == 1 and found[("vauban_attempts_total", "reject")] == 2
    assert found[("vauban_refused_total", "limited")] == 1 and found[("vauban_limited_total", "device")] == 1
    assert found[("vauban_refused_total", "unauthorised")] == 0
    assert found[("vauban_flags_total", "near")] == 1 and found[("vauban_unavailable_total", "")] == 1
    assert found[("vauban_attempt_seconds_count", "")] == 3 and found[("vauban_attempt_seconds_bucket", "0.05")] == 2


@pytest.mark.parametrize(
    "why, scope",
    [
        ("account: 20 of 20", "account"),
        ("everyone: 5 of 5", "everyone"),
        ("a burst", "burst"),
        ("the session has no attempt left", "session"),
        ("the device is locked", "lock"),
        ("5 attempts of the device are rejected or undecided", "lock"),
        ("d41d8cd98f00b204: 10 of 10", "other"),
        ("", "other"),
    ],
)
def test_a_label_is_of_a_closed_list_whatever_was_said(why: str, scope: str) -> None:
    metrics = Metrics()
    metrics.refused(Code.LIMITED, why)
    metrics.flagged(why)
    found = samples(metrics.page())
    assert found[("vauban_limited_total", scope)] == 1 and found[("vauban_flags_total", "other")] == 1


def test_every_reason_of_a_limit_in_the_guard_has_its_label() -> None:
    import vauban.guard

    source = "\n".join(p.read_text() for p in Path(vauban.guard.__file__).parent.rglob("*.py"))
    told = re.findall(r'Refused\(\s*Code\.LIMITED, f?"([^"]+)"', source)
    assert len(told) >= 5
    for why in told:
        metrics = Metrics()
        metrics.refused(Code.LIMITED, why.replace("{scope.name}", "network"))
        assert ("vauban_limited_total", "other") not in samples(metrics.page()), why


def test_the_database_is_told_of_and_no_device_is(busy: Store) -> None:
    page = Metrics().page(busy)
    found = samples(page)
    assert found[("vauban_database_up", "")] == 1 and found[("vauban_alerts_open", "critical")] == 2
    assert found[("vauban_devices_held", "locked")] == 2 and found[("vauban_devices_held", "blocked")] == 1
    assert found[("vauban_ledger_rows", "node-a")] == 62 and found[("vauban_ensemble_queries", "autumn")] == 84210
    assert 0 <= found[("vauban_ledger_checkpoint_age_seconds", "")] < 60
    assert ("vauban_evalue_log10", "near") in found and not any("histogram" in label or label == "turn" for _, label in found)
    assert re.search(rb"[0-9a-f]{32}(?![0-9a-f])", page) is None


def test_a_database_that_is_down_is_told_and_the_counts_are_too(tmp_path: Path) -> None:
    found = samples(Metrics().page(Store(f"sqlite:///{tmp_path / 'no' / 'such.db'}")))
    assert found[("vauban_database_up", "")] == 0 and ("vauban_attempts_total", "accept") in found


WORK = """
import sys
from vauban.guard.metrics import Metrics
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.decided(True, 0.01)
print(metrics.page().decode())
"""


def test_counts_of_several_processes_are_told_together(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    pages = [subprocess.run([sys.executable, "-c", WORK, n], env=environ, capture_output=True, check=True).stdout for n in ("3", "4")]
    assert samples(pages[1])[("vauban_attempts_total", "accept")] == 7
    assert samples(pages[1])[("vauban_attempt_seconds_count", "")] == 7


def test_sharing_is_asked_for_before_anything_is_counted(tmp_path: Path) -> None:
    Metrics()
    with pytest.raises(BadGuard, match="before any process counts"):
        shared(tmp_path)


def test_sharing_begins_at_zero(tmp_path: Path) -> None:
    (tmp_path / "counter_99.db").write_bytes(b"old")
    code = "import sys; from pathlib import Path; from vauban.guard.metrics import shared; shared(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert list(tmp_path.iterdir()) == []


def test_the_dashboard_asks_only_for_what_is_told_and_shows_all_of_it(busy: Store) -> None:
    import vauban.guard

    board = json.loads((Path(vauban.guard.__file__).parent / "grafana.json").read_text())
    asked = {name for p in board["panels"] for t in p["targets"] for name in re.findall(r"vauban_\w+", t["expr"])}
    metrics = Metrics()
    metrics.refused(Code.LIMITED, "device: 1 of 1")
    metrics.flagged("near")
    metrics.voteless("a")
    told = {name for name, _ in samples(metrics.page(busy))} | {g.name for g in gauges(busy)}
    assert asked <= told
    assert {n for n in told if not n.startswith("vauban_attempt_seconds_")} <= asked
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
