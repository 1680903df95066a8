"""Calibration: the stated false positives hold on rows that were not used, the file is the guard's own, and the command writes it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from captures import Pixels, Sender, levels, noisy, scene, sent, verdict
from sqlalchemy import select
from tiny_models import tiny_rows
from typer.testing import CliRunner
from whole_guards import home

from vauban.cli.edge import guarded
from vauban.cli.guard_calibrate import command
from vauban.cli.output import Output
from vauban.errors import BadData, BadGuard, BadManifest
from vauban.guard.config.model import Watch as Config
from vauban.guard.keys import Keys, make_keys, read_keys
from vauban.guard.storage import Store
from vauban.guard.watch import Calibration, Watch, read_calibration, write_calibration
from vauban.guard.watch.anomaly import FEATURES, features, fit
from vauban.guard.watch.calibrate import Owner, bounds, calibrate
from vauban.guard.watch.calibration import Likeness
from vauban.guard.watch.tables import prints
from vauban.measure.exact import clopper_pearson

NOW = time.time()


def usual(i: int) -> Pixels:
    """A capture: somebody before one of three backgrounds, with grain."""
    grain = np.random.default_rng(i).normal(0, 3, (32, 32, 3))
    return levels(0.8 * scene(i, 32) + 0.2 * scene(10**6 + i % 3, 32) + grain)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, Calibration]:
    keys = make_keys(tmp_path_factory.mktemp("calibrate") / "keys")
    rng = np.random.default_rng(0)
    verdicts = {"e1": [verdict(rng.normal(4, 1), rng.normal(3, 2)) for _ in range(900)]}
    return keys, calibrate(keys, Owner([usual(i) for i in range(900)], None, verdicts), budget=0.02, history=2000)


def test_images_like_the_rows_are_seldom_flagged(held: tuple[Keys, Calibration], sqlite_url: str) -> None:
    keys, calibration = held
    store, watch = Store(sqlite_url), Watch(keys, Config(anomaly="enforce"), calibration)
    store.create()
    flags = [sent(watch, store, usual(10_000 + i), Sender.person(str(i), NOW)).flags for i in range(400)]
    for flag, share in (("anomaly", 0.02), ("near", calibration.likeness.rate)):
        low, _ = clopper_pearson(sum(flag in f for f in flags), 400, 0.999)
        assert low <= share
    assert calibration.usual is not None
    assert calibration.usual.share > 0.001


def test_noise_is_an_anomaly_and_in_force_it_is_rejected(held: tuple[Keys, Calibration], sqlite_url: str) -> None:
    keys, calibration = held
    store, rng = Store(sqlite_url), np.random.default_rng(1)
    store.create()
    for mode, objects in (("enforce", True), ("monitor", False)):
        watch = Watch(keys, Config(anomaly=mode), calibration)
        recalls = [sent(watch, store, noisy(usual(i), 16, rng), Sender.person(f"{mode} {i}", NOW)) for i in range(30)]
        assert np.mean(["anomaly" in r.flags for r in recalls]) > 0.9
        assert {r.objects for r in recalls if "anomaly" in r.flags} == {objects}


def test_the_bar_of_anomaly_is_the_rank_that_was_promised() -> None:
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(FEATURES, FEATURES))
    above = []
    for _ in range(60):
        found = fit(rng.normal(size=(400, FEATURES)) @ mixing, 0.05)
        above.append(np.mean([found.of(f) > found.bar for f in rng.normal(size=(300, FEATURES)) @ mixing]))
    assert np.mean(above) == pytest.approx(0.05, abs=0.006)
    assert np.isinf(fit(rng.normal(size=(60, FEATURES)), 0.01).bar)


def test_statistics_of_an_image_are_what_they_say() -> None:
    x = scene(3, 24)
    bright = x[:, :, 0].astype(float) + 2.0 * x[:, :, 1] + x[:, :, 2]
    found = features(x)
    assert found[0] == pytest.approx(np.log(np.abs(np.diff(bright, axis=1)).mean() + 1))
    assert found[3] == pytest.approx(np.log(np.abs(np.diff(bright, 2, axis=0)).mean() + 1))
    assert found[4] == pytest.approx(np.log(np.abs(np.diff(np.diff(bright, axis=1), axis=0)).mean() + 1))
    assert found[6:8] == pytest.approx([bright.mean() / 1020, bright.std() / 1020])
    assert found[8] == pytest.approx(((x == 0) | (x == 255)).mean())


def test_quiet_is_a_quarter_wider_than_what_is_certain() -> None:
    low, high = clopper_pearson(40, 1000)
    found = bounds(40, 1000)
    assert (found.low, found.high) == pytest.approx((low / 1.25, high * 1.25))
    assert bounds(99, 100).high < 1


def test_more_history_and_fewer_rows_make_nothing_rejected_at_once(held: tuple[Keys, Calibration]) -> None:
    keys, _ = held
    rows = [usual(i) for i in range(200)]
    assert calibrate(keys, Owner(rows), 0.01, history=10_000_000).likeness.objects == "cluster"
    few = calibrate(keys, Owner(rows), 0.2, history=100).likeness
    assert (few.objects, few.thumb) == ("first", 0.0164)
    assert few.chance == pytest.approx(clopper_pearson(0, 100)[1] / 100)


def test_captures_of_one_person_are_not_compared(held: tuple[Keys, Calibration]) -> None:
    keys, _ = held
    rng = np.random.default_rng(3)
    rows = [noisy(usual(i // 2), 1, rng) for i in range(200)]
    everyone = calibrate(keys, Owner(rows), 0.01, history=1000).likeness
    apart = calibrate(keys, Owner(rows, [str(i // 2) for i in range(200)]), 0.01, history=1000).likeness
    assert everyone.chance > 8 * apart.chance
    assert everyone.thumb < apart.thumb == 0.0164


def test_a_file_comes_back_as_it_was_and_only_from_this_guard(held: tuple[Keys, Calibration], tmp_path: Path) -> None:
    keys, calibration = held
    path = tmp_path / "watch.json"
    write_calibration(path, calibration, keys)
    again = read_calibration(path, keys)
    assert again.likeness == calibration.likeness
    assert again.models == calibration.models
    assert (again.rejects, again.splits, again.shape, again.rows) == (calibration.rejects, calibration.splits, (32, 32), 900)
    mine, theirs = (Watch(keys, Config(), c).look(usual(5)) for c in (again, calibration))
    assert mine.anomaly == theirs.anomaly
    assert np.array_equal(mine.probes, theirs.probes)
    told = json.loads(path.read_text())
    told["value"]["likeness"]["thumb"] = 0.0
    (tmp_path / "edited.json").write_text(json.dumps(told))
    with pytest.raises(BadManifest, match="signed"):
        read_calibration(tmp_path / "edited.json", keys)
    with pytest.raises(BadManifest, match="signed"):
        read_calibration(path, make_keys(tmp_path / "others"))
    other = Keys(**{**vars(keys), "fingerprint": b"2" * 32})
    with pytest.raises(BadGuard, match="another fingerprint key"):
        read_calibration(path, other)
    with pytest.raises(BadManifest, match="no such file"):
        Watch.opened(keys, Config(), tmp_path / "none.json")


def test_pictures_of_another_size_than_calibrated_are_refused(held: tuple[Keys, Calibration]) -> None:
    keys, calibration = held
    watch = Watch(keys, Config(), calibration)
    with pytest.raises(BadData, match="calibrated on"):
        watch.look(scene(1, 48))
    with pytest.raises(BadData, match="calibrated on"):
        watch.pick({(48, 48): scene(1, 48)})
    assert watch.pick({(48, 48): scene(1, 48), (32, 32): usual(1)}).shape == (32, 32, 3)
    assert Watch(keys, Config()).pick({(48, 48): scene(1, 48), (32, 32): usual(1)}).shape == (48, 48, 3)


@pytest.mark.parametrize("rows", [[], [usual(0)] * 99, [usual(0)] * 100 + [scene(0, 40)]], ids=["none", "few", "of two sizes"])
def test_rows_that_say_too_little_are_refused(held: tuple[Keys, Calibration], rows: list[Pixels]) -> None:
    with pytest.raises(BadData, match="needs 100"):
        calibrate(held[0], Owner(rows))


def app() -> typer.Typer:
    made = typer.Typer()

    @made.callback()
    def options(ctx: typer.Context) -> None:
        ctx.obj = Output(json=True)

    made.command("calibrate")(guarded(command))
    return made


def test_the_command_writes_what_a_guard_can_enforce(tmp_path: Path) -> None:
    at = home(tmp_path / "guard")
    rows = tiny_rows(live=300)
    people = np.array([f"p{i}" for i in range(len(rows))])
    np.savez(tmp_path / "rows.npz", x=np.stack(rows.pixels), y=~rows.live, classes=np.array(["live", "spoof"]), people=people)
    asked = ["calibrate", str(at.file), "--data", str(tmp_path / "rows.npz"), "--people", "people", "--history", "100", "--budget", "0.05"]
    result = CliRunner().invoke(app(), asked)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["rows"], told["shape"], len(told["close"]), len(told["rejects"])) == (300, [24, 24], 3, 1)
    watch = Watch.opened(read_keys(at.folder / "keys"), Config(similarity="enforce", anomaly="enforce"), at.folder / "watch.json")
    assert {m.name.partition(":")[0] for m in watch.monitors} >= {"close", "scores", "splits", "rejects-more", "near"}
    wrong = CliRunner().invoke(app(), [*asked[:-6], "--people", "persons"])
    assert wrong.exit_code == 2


def test_a_print_of_a_calibrated_watch_is_stored_without_the_common_part(held: tuple[Keys, Calibration], sqlite_url: str) -> None:
    keys, calibration = held
    store = Store(sqlite_url)
    store.create()
    watch = Watch(keys, Config(), calibration)
    sent(watch, store, usual(1), Sender.person("a", NOW))
    with store.read() as tx:
        thumb = np.frombuffer(tx.run(select(prints.c.thumb)).scalar_one(), np.int8).astype(float)
    plain = Watch(keys, Config()).look(usual(1)).probes[0]
    assert calibration.centre is not None
    expected = plain - calibration.centre
    assert thumb @ expected / np.linalg.norm(thumb) / np.linalg.norm(expected) > 0.999
    assert Likeness() != calibration.likeness
