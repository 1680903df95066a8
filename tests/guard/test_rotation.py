"""Rotation: one ensemble is live, one at most is on its way, nobody can choose which to be decided by, and every step can be taken back."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select, update
from tiny_models import picture, tiny_ensemble

from vauban.errors import BadGuard, BadManifest, GuardDown
from vauban.guard.config.model import Limits, Models
from vauban.guard.images import Picture
from vauban.guard.keys import Keys, key_id
from vauban.guard.ledger import Ledger
from vauban.guard.limits.tables import attempts
from vauban.guard.quorum import Ensemble, Verdict, Vote, read_ensemble
from vauban.guard.rotation import Fleet, Keeper, Roster, Rotation, State, compare
from vauban.guard.rotation.roster import every, recently_live, succession
from vauban.guard.rotation.seal import only, seal, sealed
from vauban.guard.rotation.tables import ensembles, gates, moves
from vauban.guard.rotation.tally import anytime, tally_of
from vauban.guard.storage import Store

KEY = Ed25519PrivateKey.generate()
PUBLISHERS = {key_id(KEY.public_key()): KEY.public_key()}
NAMES = {"first": ("convolutional", "transformer", "mixer"), "second": ("recurrent", "capsule"), "third": ("tree", "kernel")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ensemble]:
    folder = tmp_path_factory.mktemp("ensembles")
    return {name: tiny_ensemble(folder, KEY, name, families) for name, families in NAMES.items()}


@pytest.fixture
def rotation(store: Store) -> Rotation:
    return Rotation(store, Models(shadow=0, canary=0), "tester")


def passed(rotation: Rotation, successor: Ensemble, retiring: Ensemble, holds: bool = True) -> None:
    with rotation.store.write() as tx:
        rotation.judged(tx, successor.id, retiring.id, holds, [])


def states(store: Store) -> dict[str, State]:
    with store.read() as tx:
        return {e.name: e.state for e in every(tx)}


def taken_over(rotation: Rotation, successor: Ensemble, retiring: Ensemble) -> None:
    """All the way from unknown to live."""
    rotation.register(successor)
    passed(rotation, successor, retiring)
    rotation.shadow(successor.name)
    rotation.canary(successor.name, 10)
    rotation.live(successor.name)


def test_an_ensemble_goes_its_way_and_comes_back(rotation: Rotation, made: dict[str, Ensemble], store: Store) -> None:
    first, second, third = made.values()
    assert rotation.begin(first)
    assert not rotation.begin(second), "only the first begins without a gate"
    taken_over(rotation, second, first)
    assert states(store) == {"first": State.RETIRED, "second": State.LIVE}
    taken_over(rotation, third, second)
    assert states(store) == {"first": State.RETIRED, "second": State.RETIRED, "third": State.LIVE}
    assert rotation.roll_back("it rejects everyone").name == "second"
    assert states(store) == {"first": State.RETIRED, "second": State.LIVE, "third": State.RETIRED}
    assert rotation.roll_back().name == "first", "a second roll-back goes further back, not forth again"
    with pytest.raises(BadGuard, match="nothing to go back to"):
        rotation.roll_back()
    with store.read() as tx:
        assert [e.name for e in succession(tx)] == ["first"]
        assert [e.name for e in recently_live(tx, 2)] == ["first", "second"]
        written = tx.run(select(moves.c.after, moves.c.by, moves.c.why).order_by(moves.c.id)).all()
    assert {row.by for row in written} == {"tester"}
    assert written[-3].why == "rolled back. it rejects everyone"


def test_rolling_back_takes_what_is_on_its_way_first(rotation: Rotation, made: dict[str, Ensemble], store: Store) -> None:
    first, second, _ = made.values()
    rotation.begin(first)
    rotation.register(second)
    passed(rotation, second, first)
    rotation.shadow("second")
    rotation.canary("second", 50)
    assert rotation.roll_back().name == "first"
    assert states(store) == {"first": State.LIVE, "second": State.RETIRED}


def test_no_step_is_left_out(rotation: Rotation, made: dict[str, Ensemble], store: Store) -> None:
    first, second, third = made.values()
    rotation.begin(first)
    rotation.register(second)
    rotation.register(third)
    for step in (lambda: rotation.canary("second", 10), lambda: rotation.live("second"), lambda: rotation.shadow("first")):
        with pytest.raises(BadGuard, match="becomes"):
            step()
    with pytest.raises(BadGuard, match="without it nothing is decided"):
        rotation.retire("first")
    with pytest.raises(BadGuard, match="did you mean 'second'"):
        rotation.shadow("secnd")
    rotation.shadow("second")
    with pytest.raises(BadGuard, match="one at a time"):
        rotation.shadow("third")
    with pytest.raises(BadGuard, match="has not looked at second as the successor of first"):
        rotation.canary("second", 10)
    passed(rotation, second, third)
    with pytest.raises(BadGuard, match="has not looked at"):
        rotation.canary("second", 10)
    passed(rotation, second, first)
    passed(rotation, second, first, holds=False)
    with pytest.raises(BadGuard, match="the gate refused"):
        rotation.canary("second", 10)
    with pytest.raises(BadGuard, match="must lie in"):
        rotation.canary("second", 101)
    assert states(store)["second"] == State.SHADOW
    rotation.canary("second", 10, override="the live one is broken")
    rotation.live("second", override="the live one is broken")
    with store.read() as tx:
        assert "overridden: the live one is broken" in tx.run(select(moves.c.why).order_by(moves.c.id.desc())).scalars().first()


def test_a_successor_must_have_answered_before_it_decides(store: Store, made: dict[str, Ensemble], keys: Keys) -> None:
    first, second, _ = made.values()
    rotation = Rotation(store, Models(shadow=3, canary=2), "tester")
    keeper = Keeper(Roster(keys, rotation.models), rotation)
    rotation.begin(first)
    rotation.register(second)
    passed(rotation, second, first)
    rotation.shadow("second")
    with pytest.raises(BadGuard, match="answered 0 times in shadow"):
        rotation.canary("second", 10)
    votes = (Vote("a", 1.0, True),)
    with store.write() as tx:
        for decided, said in ((True, True), (True, False), (False, False)):
            compare(tx, decided, Verdict(said, votes, second.id))
        compare(tx, True, None)
    keeper.tick()
    with store.read() as tx:
        seen = tally_of(tx, second.id, second.id, "shadow")
    assert (seen.rows, seen.accepted, seen.apart, seen.failed) == (3, 1, 1, 0)
    with store.write() as tx:
        compare(tx, True, Verdict(False, (), second.id))
    keeper.tick()
    with pytest.raises(BadGuard, match="no answer to 1 of 4"):
        rotation.canary("second", 10)
    rotation.retire("second")
    rotation.shadow("second")
    with store.write() as tx:
        for _ in range(3):
            compare(tx, True, Verdict(True, votes, second.id))
    keeper.tick()
    rotation.canary("second", 10)
    with pytest.raises(BadGuard, match="decided 0 times as a canary"):
        rotation.live("second")


def test_of_two_that_begin_at_once_one_does(store: Store, made: dict[str, Ensemble]) -> None:
    began: list[bool] = []

    def begin(ensemble: Ensemble) -> None:
        began.append(Rotation(store, Models(), "x").begin(ensemble))

    threads = [threading.Thread(target=begin, args=(made[name],)) for name in ("first", "second") * 4]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(began) == [False] * 7 + [True]
    with store.read() as tx:
        assert sum(e.state == State.LIVE for e in every(tx)) == 1


def test_the_database_itself_holds_only_one_live_ensemble(rotation: Rotation, made: dict[str, Ensemble], store: Store) -> None:
    rotation.begin(made["first"])
    rotation.register(made["second"])
    with pytest.raises(GuardDown), store.write() as tx:
        tx.run(update(ensembles).values(state="live"))


def test_another_ensemble_of_the_same_name_is_told(rotation: Rotation, made: dict[str, Ensemble], tmp_path: Path) -> None:
    rotation.register(made["first"])
    rotation.register(made["first"])
    with pytest.raises(BadGuard, match="another ensemble was registered as 'first'"):
        rotation.register(tiny_ensemble(tmp_path, KEY, "first", ("x", "y")))


def test_every_move_is_in_the_ledger(store: Store, made: dict[str, Ensemble], keys: Keys, tmp_path: Path) -> None:
    rotation = Rotation(store, Models(shadow=0, canary=0), "tester", Ledger(keys, "models").append)
    rotation.begin(made["first"])
    taken_over(rotation, made["second"], made["first"])
    from vauban.guard.ledger.chain import records

    with store.read() as tx:
        kinds = tx.run(select(records.c.kind).order_by(records.c.seq)).scalars().all()
    assert kinds == ["rotation", "rotation", "rotation", "gate", "rotation", "rotation", "rotation", "rotation"]


# which ensemble a device gets


@pytest.fixture
def rolling(rotation: Rotation, made: dict[str, Ensemble], keys: Keys) -> Roster:
    """First is live, second a canary for a tenth."""
    rotation.begin(made["first"])
    rotation.register(made["second"])
    passed(rotation, made["second"], made["first"])
    rotation.shadow("second")
    rotation.canary("second", 10)
    return Roster(keys, rotation.models)


def dealt(roster: Roster, store: Store, devices: int = 1_000) -> np.ndarray[Any, Any]:
    with store.read() as tx:
        return np.array([roster.assign(tx, f"device {i}") for i in range(devices)])


def test_a_canary_gets_its_share_and_a_device_keeps_its_ensemble(
    rolling: Roster, rotation: Rotation, store: Store, made: dict[str, Ensemble]
) -> None:
    tenth = dealt(rolling, store) == made["second"].id
    assert abs(tenth.mean() - 0.1) < 4 * (0.1 * 0.9 / 1000) ** 0.5
    assert (dealt(rolling, store) == np.where(tenth, made["second"].id, made["first"].id)).all()
    rotation.canary("second", 50)
    half = dealt(rolling, store) == made["second"].id
    assert abs(half.mean() - 0.5) < 4 * (0.25 / 1000) ** 0.5
    assert (half >= tenth).all(), "who had it keeps it when it goes on"
    rotation.canary("second", 100)
    assert (dealt(rolling, store, 100) == made["second"].id).all()


def test_nobody_without_the_key_can_tell_who_gets_the_canary(rolling: Roster, keys: Keys) -> None:
    other = Roster(Keys(keys.token, b"x" * 32, keys.fingerprint, keys.ledger, keys.signing, keys.publishers))
    ours, theirs = ([r.bucket("c", f"device {i}") for i in range(500)] for r in (rolling, other))
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.2
    again = [rolling.bucket("another roll-out", f"device {i}") for i in range(500)]
    assert abs(np.corrcoef(ours, again)[0, 1]) < 0.2


def test_without_a_live_ensemble_no_session_begins(store: Store, keys: Keys) -> None:
    with pytest.raises(GuardDown, match="no ensemble is live"), store.read() as tx:
        Roster(keys).assign(tx, "device")


def admitted(store: Store, ensemble: str, outcomes: list[bool | None], age: float = 60.0) -> None:
    """Attempts that were decided so."""
    told = {"session": "s", "party": "p", "device": "d", "account": "a", "network": "n", "node": "here", "ensemble": ensemble}
    with store.write() as tx:
        at = tx.now() - age
        start = len(tx.run(select(attempts.c.id)).all())
        rows = [
            {**told, "seq": start + i, "nonce": f"{start + i}", "at": at, "state": "reserved" if o is None else "decided", "accept": o}
            for i, o in enumerate(outcomes)
        ]
        tx.run(insert(attempts), rows)


def test_age_and_questions_are_counted_and_told_and_may_end_it(store: Store, made: dict[str, Ensemble], keys: Keys) -> None:
    told: list[tuple[str, str, dict[str, Any]]] = []
    models = Models(queries=100, overdue="refuse")
    rotation, roster = Rotation(store, models, "keeper"), Roster(keys, models)
    keeper = Keeper(roster, rotation, lambda tx, *alert: told.append(alert))
    rotation.begin(made["first"])
    admitted(store, made["first"].id, [True] * 79)
    admitted(store, made["first"].id, [True] * 50, age=1.0)
    keeper.tick()
    assert not told
    with store.write() as tx:
        assert roster.assign(tx, "device") == made["first"].id
        tx.run(update(attempts).where(attempts.c.at > tx.now() - 10).values(at=tx.now() - 30))
        assert every(tx)[0].queries == 79, "those that may still be decided are not counted yet"
    keeper.tick()
    keeper.tick()
    assert [(monitor, severity) for monitor, severity, _ in told] == [("rotation", "critical")] * 2
    assert "129 of 100 questions" in told[0][2]["why"]
    with store.read() as tx, pytest.raises(GuardDown, match="overdue"):
        roster.assign(tx, "device")
    with store.write() as tx:
        tx.run(update(ensembles).values(queries=0, live_at=tx.now() - 75 * 86400))
    keeper.tick()
    assert told[-1][1] == "warning"
    with store.read() as tx:
        assert Roster(keys, models, Limits()).assign(tx, "device") == made["first"].id


def test_what_our_own_attacks_needed_shortens_its_time(store: Store, made: dict[str, Ensemble], keys: Keys) -> None:
    roster = Roster(keys, Models(attack_cost=1_000, attack_devices=5))
    Rotation(store, roster.models, "x").begin(made["first"])
    with store.write() as tx:
        tx.run(update(ensembles).values(live_at=tx.now() - 21 * 86400))
        used = roster.spent(tx, every(tx)[0])
    assert used.allowed_days == 20.0
    assert used.overdue


def test_attempts_are_counted_once_whatever_is_added_meanwhile(store: Store, made: dict[str, Ensemble], keys: Keys) -> None:
    rotation = Rotation(store, Models(), "keeper")
    rotation.begin(made["first"])
    keepers = [Keeper(Roster(keys), rotation) for _ in range(3)]
    for round_ in range(5):
        admitted(store, made["first"].id, [True] * (7 + round_), age=60)
        admitted(store, "another", [True], age=60)
        threads = [threading.Thread(target=k.tick) for k in keepers]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    with store.read() as tx:
        assert every(tx)[0].queries == 45


@pytest.mark.parametrize("accepts, comes_back", [(0.30, True), (0.98, True), (0.89, False)])
def test_a_canary_that_decides_otherwise_is_taken_back_by_itself(
    rolling: Roster, rotation: Rotation, store: Store, made: dict[str, Ensemble], accepts: float, comes_back: bool
) -> None:
    told: list[Any] = []
    keeper = Keeper(Roster(rolling.keys, Models(apart=0.03)), rotation, lambda tx, *alert: told.append(alert))
    dice = np.random.default_rng(0)
    for _ in range(5):
        admitted(store, made["first"].id, [bool(v) for v in dice.random(600) < 0.9])
        admitted(store, made["second"].id, [bool(v) for v in dice.random(300) < accepts])
        keeper.tick()
    assert states(store)["second"] == (State.RETIRED if comes_back else State.CANARY)
    assert states(store)["first"] == State.LIVE
    assert bool(told) == comes_back
    with store.read() as tx:
        assert (rolling.assign(tx, "any") == made["first"].id) or not comes_back


def test_a_canary_that_fails_is_taken_back(rolling: Roster, rotation: Rotation, store: Store, made: dict[str, Ensemble]) -> None:
    keeper = Keeper(rolling, rotation)
    admitted(store, made["first"].id, [True] * 300)
    admitted(store, made["second"].id, [True] * 200 + [None] * 100)
    keeper.tick()
    assert states(store)["second"] == State.RETIRED


def test_an_interval_for_all_times_holds_at_all_times() -> None:
    """Of 400 streams that are looked at after every one of 300 rows, at most about 1 in 100 ever leaves it."""
    dice, share = np.random.default_rng(1), 0.7
    left = 0
    for stream in np.cumsum(dice.random((400, 300)) < share, axis=1):
        left += any(not low <= share <= high for low, high in (anytime(int(stream[n]), n + 1, 0.05) for n in range(9, 300, 10)))
    assert left / 400 <= 0.05
    low, high = anytime(500, 1000)
    assert 0.4 < low < 0.5 < high < 0.6


# what a process has loaded


@pytest.fixture
def fleet(rotation: Rotation, made: dict[str, Ensemble], store: Store, tmp_path: Path) -> Iterator[Fleet]:
    folder = tmp_path / "models"
    folder.mkdir()
    for ensemble in made.values():
        shutil.copytree(ensemble.folder, folder / ensemble.name)
        rotation.register(seal(folder, read_ensemble(folder / ensemble.name, PUBLISHERS), PUBLISHERS))
    rotation.begin(made["first"])
    held = Fleet(store, rotation.models, folder, PUBLISHERS)
    yield held
    for place in (folder / ".sealed").iterdir():
        place.chmod(0o755)
    held.close()


def bright(fleet: Fleet) -> Picture:
    return Picture.fitted(picture(0.9), fleet.sizes)


def test_a_session_is_decided_by_the_ensemble_it_was_given(
    fleet: Fleet, rotation: Rotation, made: dict[str, Ensemble], store: Store
) -> None:
    first, second, _ = made.values()
    assert list(fleet.refresh().values()) == ["first"]
    assert fleet.ready
    assert fleet.ask(first.id, bright(fleet)).ensemble == first.id
    assert fleet.shadow(bright(fleet)) is None
    with pytest.raises(GuardDown, match="retired"):
        fleet.ask(second.id, bright(fleet))
    rotation.shadow("second")
    fleet.refresh()
    said = fleet.shadow(bright(fleet))
    assert said is not None
    assert (said.ensemble, said.accept) == (second.id, True)
    passed(rotation, second, first)
    rotation.canary("second", 10)
    assert fleet.ask(second.id, bright(fleet)).accept, "before this process has looked again"
    rotation.live("second")
    fleet.refresh()
    assert fleet.ask(first.id, bright(fleet)).ensemble == first.id, "a session from before is decided by what it was given"
    with store.write() as tx:
        tx.run(update(ensembles).where(ensembles.c.id == first.id).values(retired_at=tx.now() - 601))
    fleet.refresh()
    with pytest.raises(GuardDown, match="retired"):
        fleet.ask(first.id, bright(fleet))
    rotation.roll_back()
    assert fleet.ask(first.id, bright(fleet)).accept, "it is there again at once"


def spoiled(folder: Path) -> None:
    path = next(folder.glob("*.onnx"))
    folder.chmod(0o755)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def test_a_sealed_ensemble_does_not_change_with_its_folder(fleet: Fleet, made: dict[str, Ensemble]) -> None:
    place = fleet.folder / ".sealed" / made["first"].id
    assert {oct(f.stat().st_mode & 0o777) for f in place.iterdir()} == {"0o444"}
    spoiled(fleet.folder / "first")
    fleet.refresh()
    assert fleet.ask(made["first"].id, bright(fleet)).accept


def test_nothing_starts_with_a_sealed_ensemble_that_was_changed(fleet: Fleet, made: dict[str, Ensemble]) -> None:
    spoiled(fleet.folder / ".sealed" / made["first"].id)
    with pytest.raises(BadManifest, match="is not the file that"):
        fleet.refresh()
    assert not fleet.ready


def test_a_damaged_ensemble_in_shadow_does_not_stop_the_live_one(fleet: Fleet, rotation: Rotation, made: dict[str, Ensemble]) -> None:
    rotation.shadow("second")
    spoiled(fleet.folder / ".sealed" / made["second"].id)
    fleet.refresh()
    assert fleet.shadow(bright(fleet)) is None
    assert fleet.ask(made["first"].id, bright(fleet)).accept


def test_one_ensemble_put_in_the_place_of_another_is_noticed(fleet: Fleet, made: dict[str, Ensemble]) -> None:
    sealed_ones = fleet.folder / ".sealed"
    place = sealed_ones / made["first"].id
    place.chmod(0o755)
    shutil.rmtree(place)
    shutil.copytree(sealed_ones / made["second"].id, place)
    with pytest.raises(BadManifest, match="another ensemble"):
        fleet.refresh()


def test_a_machine_without_the_sealed_copy_makes_its_own(fleet: Fleet, made: dict[str, Ensemble], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(made["first"].folder, elsewhere / "any name")
    assert sealed(elsewhere, made["first"].id, PUBLISHERS).folder == elsewhere / ".sealed" / made["first"].id
    with pytest.raises(BadManifest, match="is not on this machine"):
        sealed(elsewhere, made["second"].id, PUBLISHERS)


def test_a_new_guard_takes_the_one_ensemble_there_is(fleet: Fleet, made: dict[str, Ensemble], tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="3 ensembles"):
        only(fleet.folder, PUBLISHERS)
    with pytest.raises(BadManifest, match="no ensemble"):
        only(tmp_path, PUBLISHERS)
    shutil.rmtree(fleet.folder / "second")
    shutil.rmtree(fleet.folder / "third")
    assert only(fleet.folder, PUBLISHERS).id == made["first"].id


def test_gates_are_kept(rotation: Rotation, made: dict[str, Ensemble], store: Store) -> None:
    passed(rotation, made["second"], made["first"])
    with store.read() as tx:
        assert tx.run(select(gates.c.holds)).scalar_one()
