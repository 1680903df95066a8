"""Recall: replays, near-duplicates of others, clusters of them and the evidence that they are no chance; and what expires is gone."""

from __future__ import annotations

import itertools
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from captures import Sender, blinded, captures, levels, noisy, scene, sent, shifted
from sqlalchemy import func, insert, select

from vauban.errors import BadGuard
from vauban.guard.config.model import Watch as Config
from vauban.guard.keys import Keys
from vauban.guard.storage import Store
from vauban.guard.watch import Calibration, Watch
from vauban.guard.watch.calibration import Likeness
from vauban.guard.watch.clusters import link
from vauban.guard.watch.evidence import FACTORS, Evidence, read_evidence
from vauban.guard.watch.sketch import likeness
from vauban.guard.watch.tables import clusters, digests, inbox, marks, prints
from vauban.guard.watch.thumbnail import nearest

NOW = time.time()
RNG = np.random.default_rng(0)


@pytest.fixture
def watch(keys: Keys) -> Watch:
    return Watch(keys, Config())


def enforcing(keys: Keys, objects: str) -> Watch:
    likeness = Likeness(chance=1e-6, history=1000, objects=objects)  # type: ignore[arg-type]
    return Watch(keys, Config(similarity="enforce"), Calibration((112, 112), 1000, likeness))


def found_clusters(store: Store) -> list[frozenset[int]]:
    with store.read() as tx:
        rows = tx.run(select(prints.c.id, prints.c.cluster).where(prints.c.cluster.is_not(None))).all()
    groups: dict[int, set[int]] = {}
    for row in rows:
        groups.setdefault(row.cluster, set()).add(row.id)
    return sorted(map(frozenset, groups.values()), key=min)


def test_the_same_pixels_again_are_a_replay_whoever_sends_them(watch: Watch, store: Store) -> None:
    picture, person = captures()[0], Sender.person("one", NOW)
    assert sent(watch, store, picture, person).flags == ()
    again = sent(watch, store, picture, replace(person, attempt=0))
    assert "replay" in again.flags
    assert again.objects
    assert "replay" in sent(watch, store, picture, Sender.person("two", NOW)).flags


def test_of_many_that_come_at_once_one_is_new(watch: Watch, url: str) -> None:
    store = Store(url, patience=10)
    store.create()
    picture = captures()[1]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: sent(watch, store, picture, Sender.person(str(i), NOW)), range(6)))
    assert sum("replay" not in r.flags for r in found) == 1


def test_retakes_of_one_account_are_usual_and_those_of_another_are_told(watch: Watch, store: Store) -> None:
    picture, person = captures()[2], Sender.person("one", NOW)
    sent(watch, store, picture, person)
    for again in (replace(person, session="later"), replace(person, session="on a new phone", device="new")):
        recall = sent(watch, store, blinded(picture, RNG), again)
        assert recall.flags == ()
        assert recall.near
    for other in (Sender.person("two", NOW), replace(person, session="other account", account="another")):
        recall = sent(watch, store, blinded(picture, RNG), other)
        assert recall.flags == ("near",)
        assert not recall.objects


def test_without_accounts_the_device_is_the_identity(watch: Watch, store: Store) -> None:
    picture, device = captures()[3], Sender(account="", device="d", session="1", at=NOW)
    sent(watch, store, picture, device)
    assert sent(watch, store, noisy(picture, 1, RNG), replace(device, session="2")).flags == ()
    assert sent(watch, store, noisy(picture, 1, RNG), replace(device, session="3", device="e")).flags == ("near",)


def test_strangers_are_not_near(watch: Watch, store: Store) -> None:
    found = [sent(watch, store, scene(i), Sender.person(str(i), NOW)) for i in range(60)]
    assert all(r.flags == () and r.near == () for r in found)
    with store.read() as tx:
        assert tx.run(select(func.count()).select_from(clusters)).scalar_one() == 0


def test_near_begins_where_calibration_says(watch: Watch, sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()
    base, other = (captures()[i].astype(float) for i in (5, 6))
    sent(watch, store, captures()[5], Sender.person("first", NOW))
    stored = watch.look(captures()[5])
    far, told = [], []
    for share in np.linspace(0.02, 0.5, 25):
        seen = watch.look(levels((1 - share) * base + share * other))
        with store.write() as tx:
            told.append("near" in watch.recall(tx, seen, Sender.person("second", NOW)).flags)
        far.append(
            min(float(nearest(seen.probes, stored.thumb[None])[0]) / 0.0164, 1.0 if likeness(seen.sketch, [stored.sketch])[0] >= 0.5 else 9)
        )
    assert told[:3] == [True] * 3
    assert not any(t for t, f in zip(told, far, strict=True) if f > 1)
    assert any(1 < f < 2.5 for f in far)


def test_a_flood_of_others_does_not_hide_a_near_duplicate(watch: Watch, store: Store) -> None:
    sent(watch, store, captures()[4], Sender.person("victim", NOW))
    for i in range(80):
        sent(watch, store, scene(1000 + i), Sender.person(str(i), NOW))
    assert "near" in sent(watch, store, blinded(captures()[4], RNG), Sender.person("other", NOW)).flags


@pytest.mark.parametrize(("objects", "when"), [("first", 1), ("cluster", 5)])
def test_in_force_it_speaks_against_what_calibration_allows(keys: Keys, sqlite_url: str, objects: str, when: int) -> None:
    store = Store(sqlite_url)
    store.create()
    watch = enforcing(keys, objects)
    found = [sent(watch, store, noisy(captures()[0], 2, RNG), Sender.person(str(i), NOW)) for i in range(9)]
    first = next(i for i, r in enumerate(found) if r.objects)
    assert first == when if objects == "first" else when <= first <= when + 2
    assert all(r.objects for r in found[first:])
    with store.read() as tx:
        accepted = tx.run(select(prints.c.accept).order_by(prints.c.id)).scalars().all()
    assert [bool(a) for a in accepted] == [not r.objects for r in found]


def test_nothing_unmeasured_is_in_force(keys: Keys) -> None:
    for config in (Config(similarity="enforce"), Config(anomaly="enforce")):
        with pytest.raises(BadGuard, match="vauban guard calibrate"):
            Watch(keys, config)
    with pytest.raises(BadGuard, match="too few rows"):
        Watch(keys, Config(anomaly="enforce"), Calibration((112, 112), 100, Likeness()))


def test_what_is_off_leaves_nothing(keys: Keys, sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()
    watch = Watch(keys, Config(replay="off", similarity="off", anomaly="off", monitors="off"))
    for _ in range(2):
        assert sent(watch, store, captures()[0], Sender.person("a", NOW)).flags == ()
    with store.read() as tx:
        for table in (digests, prints, marks, inbox):
            assert tx.run(select(func.count()).select_from(table)).scalar_one() == 0


def test_no_identity_is_told_to_the_monitors(watch: Watch, store: Store) -> None:
    sent(watch, store, captures()[0], Sender.person("somebody", NOW, network="somewhere"))
    with store.read() as tx:
        told = tx.run(select(inbox.c.told)).scalar_one()
    assert json.loads(told)["scores"] == {"m1": 24, "m2": 16}
    assert "some" not in told


def bare(tx: object, number: int, identity: str) -> SimpleNamespace:
    row = {"attempt": number, "at": NOW + number, "device": identity, "identity": identity, "network": "n"}
    row |= {"sketch": b"", "thumb": b"", "accept": number % 2 == 0}
    made = tx.run(insert(prints).values(**row)).inserted_primary_key[0]  # type: ignore[attr-defined]
    return SimpleNamespace(id=made, identity=identity, at=row["at"], accept=row["accept"])


@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_the_connected_components(store: Store, seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges: list[tuple[int, int]] = []
    identities: dict[int, str] = {}
    with store.write() as tx:
        for number in range(70):
            new = bare(tx, number, f"i{rng.integers(25)}")
            identities[new.id] = new.identity
            near = [int(i) for i in rng.choice(list(identities), rng.choice([0, 0, 1, 2, 3])) if i != new.id]
            edges += [(new.id, i) for i in near]
            if near:
                link(tx, new, near, 1e-6)
    component = {i: i for i in identities}
    for _ in identities:
        for a, b in edges:
            component[a] = component[b] = min(component[a], component[b])
    groups: dict[int, set[int]] = {}
    for node, root in component.items():
        groups.setdefault(root, set()).add(node)
    expected = sorted((frozenset(g) for g in groups.values() if len(g) > 1), key=min)
    assert found_clusters(store) == expected
    with store.read() as tx:
        rows = {r.id: r for r in tx.run(select(clusters)).all()}
        written = tx.run(select(prints.c.id, prints.c.cluster, prints.c.accept)).all()
    homes, accepts = {r.id: r.cluster for r in written}, {r.id: r.accept for r in written}
    assert len(rows) == len(expected)
    for group in expected:
        row = rows[homes[min(group)]]
        assert (row.size, row.identities) == (len(group), len({identities[i] for i in group}))
        assert row.accepted == sum(map(bool, (accepts[i] for i in group)))


def test_clusters_that_are_joined_at_once_lose_nobody(watch: Watch, url: str) -> None:
    store = Store(url, patience=10)
    store.create()
    pictures = [noisy(captures()[0], 1, RNG) for _ in range(24)]
    sent(watch, store, captures()[0], Sender.person("first", NOW))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda i: sent(watch, store, pictures[i], Sender.person(str(i), NOW)), range(24)))
    sent(watch, store, noisy(captures()[0], 1, RNG), Sender.person("last", NOW))
    assert [len(c) for c in found_clusters(store)] == [26]
    with store.read() as tx:
        row = tx.run(select(clusters)).one()
    assert (row.size, row.identities) == (26, 26)


def test_the_evidence_of_a_cluster_cannot_be_expected_to_grow_by_chance() -> None:
    chance, turns = 0.02, 9
    expected = 0.0
    for hits in itertools.product((False, True), repeat=turns):
        evidence, probability = Evidence.seed(0), 1.0
        for t, hit in enumerate(hits, 1):
            p = evidence.size * chance
            probability *= p if hit else 1 - p
            evidence = evidence.after(t, chance, hit=hit)
            if hit:
                evidence = Evidence.joined([evidence], t)
        expected += probability * math.exp(evidence.log_e)
    assert 0.5 < expected <= 1


def test_joined_clusters_keep_the_larger_evidence_for_every_alternative() -> None:
    one = Evidence((1.0, 5.0, 2.0), 3, 10)
    other = Evidence((2.0, 1.0, -4.0), 7, 10)
    joined = Evidence.joined([one, other], 10)
    assert joined == Evidence((2.0, 5.0, 2.0), 11, 10)
    again = read_evidence(joined.written(), joined.size, joined.upto)
    assert again == joined
    assert math.exp(again.log_e) == pytest.approx((math.e**2 + math.e**5 + math.e**2) / 3)


def test_a_person_with_two_accounts_is_no_alarm_and_six_strangers_are(watch: Watch, store: Store) -> None:
    def alarm(seed: int, people: int, times: int) -> bool:
        picture = scene(5000 + seed)
        found = [
            sent(watch, store, shifted(noisy(picture, 2, RNG), i, 0), Sender.person(f"{seed}-{i % people}", NOW))
            for i in range(people * times)
        ]
        return any("cluster" in r.flags for r in found)

    assert not alarm(0, 2, 12)
    assert not alarm(1, 3, 5)
    assert alarm(2, 8, 1)


def test_retakes_of_one_person_are_no_evidence(watch: Watch, sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()
    for _ in range(6):
        sent(watch, store, noisy(captures()[0], 1, RNG), Sender.person("one", NOW))
    with store.read() as tx:
        row = tx.run(select(clusters)).one()
    assert (row.size, row.identities) == (6, 1)
    assert row.log_e <= 0


def test_the_alarm_needs_as_many_identities_as_the_cap_says() -> None:
    evidence, people = Evidence.seed(0), 1
    while evidence.log_e < math.log(1e6):
        people += 1
        evidence = Evidence.joined([evidence.after(people, 1e-9, hit=True)], people)
    assert FACTORS[-1] ** (people - 2) < 3e6 <= FACTORS[-1] ** (people - 1)
    assert people == 6


def test_what_chance_explains_is_no_evidence() -> None:
    evidence = Evidence.seed(0)
    for turn in range(1, 200):
        evidence = Evidence.joined([evidence.after(turn * 1000, 1e-3, hit=True)], turn * 1000)
    assert evidence.log_e < math.log(20)


def test_what_is_older_than_it_may_be_is_gone_with_all_its_marks(watch: Watch, store: Store) -> None:
    old, young = NOW - 8 * 86400, time.time()
    sent(watch, store, captures()[0], Sender.person("a", old))
    sent(watch, store, noisy(captures()[0], 1, RNG), Sender.person("b", old + 60))
    sent(watch, store, noisy(captures()[0], 1, RNG), Sender.person("c", young))
    sent(watch, store, captures()[3], Sender.person("d", old + 90))
    with store.read() as tx:
        before = tx.run(select(func.count()).select_from(marks)).scalar_one()
    assert watch.expire(store) == 3
    assert watch.expire(store) == 0
    with store.read() as tx:
        left = tx.run(select(prints)).one()
        kept = tx.run(select(marks)).all()
        row = tx.run(select(clusters)).one()
        assert tx.run(select(func.count()).select_from(digests)).scalar_one() == 1
        assert tx.run(select(func.count()).select_from(inbox)).scalar_one() == 1
    assert left.identity == "a c"
    assert {m.print for m in kept} == {left.id}
    assert 0 < len(kept) < before
    assert (row.size, row.identities, row.first) == (1, 1, pytest.approx(young))
    assert sent(watch, store, captures()[0], Sender.person("e", young)).flags == (
        "near",
    )  # no replay any more, and still near to the third


def test_a_cluster_without_members_is_no_more(watch: Watch, store: Store) -> None:
    old = NOW - 8 * 86400
    for i in range(3):
        sent(watch, store, noisy(captures()[0], 1, RNG), Sender.person(str(i), old))
    assert watch.expire(store) == 3
    with store.read() as tx:
        for table in (clusters, prints, marks, digests):
            assert tx.run(select(func.count()).select_from(table)).scalar_one() == 0
