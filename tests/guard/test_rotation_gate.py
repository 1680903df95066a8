"""The gate: a successor is of other families, no worse, and not fooled by what fooled the retiring ensemble; and replay of what was decided."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from sqlalchemy import insert
from tiny_models import SIZE, picture, tiny_ensemble, tiny_onnx, tiny_rows
from typer.testing import CliRunner

from vauban.cli.main import application
from vauban.errors import BadData, BadGuard
from vauban.guard.config.model import Models
from vauban.guard.images import Picture
from vauban.guard.keys import key_id, make_keys, read_keys
from vauban.guard.limits.tables import attempts
from vauban.guard.quorum import Ensemble, Verdict, Vote
from vauban.guard.quorum.calibrate import Asked, sign
from vauban.guard.quorum.ensemble import bundle
from vauban.guard.quorum.manifest import Errors
from vauban.guard.quorum.rows import Rows, read_pictures, read_rows
from vauban.guard.rotation.cost import Cost, attack_cost
from vauban.guard.rotation.gate import BREACHED, HOLDS, UNABLE, Finding, judge, no_worse, passes, transfer_matrix
from vauban.guard.rotation.replay import Decision, decision_of, differs, replayed
from vauban.guard.storage import Store
from vauban.measure.exact import clopper_pearson

KEY = Ed25519PrivateKey.generate()
PUBLISHERS = {key_id(KEY.public_key()): KEY.public_key()}
ROWS = tiny_rows(150, 100, seed=7)
ALLOWED = Models(rejected=0.1, transfer=0.1, worse=0.02)


def ensemble(folder: Path, name: str, channels: dict[str, int], gain: float = 40.0, budget: float = 0.05) -> Ensemble:
    """Models of these families, each of which looks at one channel."""
    made: list[Path] = []
    (folder / f".{name}").mkdir(parents=True)
    for family, channel in channels.items():
        path = tiny_onnx(folder / f".{name}" / f"{family}.onnx", channel, gain)
        sign(path, tiny_rows(), Asked(f"{name}-{family}", family, budget=budget), KEY)
        made.append(path.with_suffix(".json"))
    return bundle(folder / name, name, made, KEY, ROWS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ensemble]:
    """The old one looks at red and green alone, so what is bright there fools it; the new one at blue too."""
    folder = tmp_path_factory.mktemp("shop")
    return {
        "old": ensemble(folder, "old", {"a": 0, "b": 1}),
        "new": ensemble(folder, "new", {"c": 0, "d": 2}),
        "alike": ensemble(folder, "alike", {"e": 1, "f": 0}, gain=41),
        "same family": ensemble(folder, "same-family", {"a": 0, "d": 2}, gain=42),
        "strict": ensemble(folder, "strict", {"g": 0, "h": 2}, gain=43, budget=0.3),
    }


def fooling(count: int = 60) -> list[np.ndarray[Any, Any]]:
    """Dark pictures of which red and green were made bright."""
    dice = np.random.default_rng(3)
    return [picture((b, b, 0.2)) for b in dice.uniform(0.7, 0.9, count)]


def found(
    shop: dict[str, Ensemble], name: str, recent: list[tuple[str, ...]] | None = None, examples: Any = None, rows: Rows = ROWS
) -> dict[str, Finding]:
    told = judge(shop[name], shop["old"], recent or [("a", "b")], rows, fooling() if examples is None else examples, ALLOWED)
    return {f.name: f for f in told}


def test_a_worthy_successor_passes(shop: dict[str, Ensemble]) -> None:
    told = found(shop, "new")
    assert {f.verdict for f in told.values()} == {HOLDS}, told
    assert set(told) == {"members", "families", "live rows", "attack print", "attack replay", "transfer"}
    assert passes(list(told.values()))
    assert "0 of 60 examples that fool the retiring ensemble" in told["transfer"].text


def test_a_successor_that_the_same_examples_fool_is_refused(shop: dict[str, Ensemble]) -> None:
    told = found(shop, "alike")
    assert told["transfer"].verdict == BREACHED
    assert "60 of 60" in told["transfer"].text
    assert {f.verdict for name, f in told.items() if name != "transfer"} == {HOLDS}


def test_a_family_of_the_last_ensembles_is_refused(shop: dict[str, Ensemble]) -> None:
    assert found(shop, "same family")["families"].verdict == BREACHED
    assert found(shop, "new", [("a", "b"), ("d", "z")])["families"].verdict == BREACHED
    assert found(shop, "new", [("a", "b"), ("y", "z"), ("c", "d")])["families"].verdict == HOLDS, "two ensembles back is as far as it looks"


def test_a_successor_that_rejects_more_is_refused(shop: dict[str, Ensemble]) -> None:
    told = found(shop, "strict")["live rows"]
    assert told.verdict == BREACHED
    assert "worse than the retiring ensemble" in told.text
    (same,) = [f for f in judge(shop["strict"], shop["strict"], [], ROWS, fooling(), ALLOWED) if f.name == "live rows"]
    assert (same.verdict, "more than 10.0%" in same.text) == (BREACHED, True)
    loose = judge(shop["strict"], shop["old"], [], ROWS, fooling(), Models(rejected=0.9))
    (live,) = [f for f in loose if f.name == "live rows"]
    assert (live.verdict, "worse than the retiring ensemble" in live.text) == (BREACHED, True)


@pytest.mark.parametrize(
    "wrong, before, verdict", [(4, 0, UNABLE), (9, 0, BREACHED), (20, 18, BREACHED), (2, 0, HOLDS), (4, 4, HOLDS), (1, 6, HOLDS)]
)
def test_no_worse_is_by_the_bounds_too(wrong: int, before: int, verdict: str) -> None:
    """Four rows more of 150 are no significant difference; their bound is worse all the same."""
    now, then = np.arange(150) < wrong, np.arange(150)[::-1] < before
    new, old = (Errors(rows=150, wrong=w, bounds=clopper_pearson(w, 150)) for w in (wrong, before))
    assert no_worse("live rows", now, then, new, old, worse=0.025, most=0.1).verdict == verdict


def test_a_successor_that_lets_more_attacks_pass_is_refused(shop: dict[str, Ensemble]) -> None:
    """Attacks that are bright in red and blue pass the new one alone."""
    masks = [picture((0.8, 0.2, 0.8))] * 60
    rows = Rows([*ROWS.pixels, *masks], (*ROWS.kinds, *["mask"] * 60))
    told = found(shop, "new", rows=rows)
    assert told["attack mask"].verdict == BREACHED
    assert told["attack print"].verdict == HOLDS


@pytest.mark.parametrize("examples", [[], fooling(5), [picture(0.1)] * 200])
def test_too_few_examples_say_nothing_and_do_not_pass(shop: dict[str, Ensemble], examples: Any) -> None:
    told = found(shop, "new", examples=examples)
    assert told["transfer"].verdict == UNABLE
    assert not passes(list(told.values()))


def test_a_few_examples_are_enough_to_refuse(shop: dict[str, Ensemble]) -> None:
    assert found(shop, "alike", examples=fooling(5))["transfer"].verdict == BREACHED


def test_examples_that_fool_one_model_count_where_none_fools_all(shop: dict[str, Ensemble]) -> None:
    told = found(shop, "new", examples=[picture((0.8, 0.2, 0.2))] * 60)["transfer"]
    assert told.verdict == HOLDS
    assert "fool a model of the retiring ensemble" in told.text


def test_too_few_rows_say_nothing(shop: dict[str, Ensemble]) -> None:
    live = Rows(ROWS.pixels[:20], ROWS.kinds[:20])
    told = found(shop, "new", rows=live)
    assert told["live rows"].verdict == UNABLE
    assert told["attacks"].verdict == UNABLE


def test_who_is_fooled_by_whose_examples(shop: dict[str, Ensemble]) -> None:
    three = [shop["old"], shop["alike"], shop["new"]]
    red_blue = [picture((0.8, 0.2, 0.8))] * 3
    matrix = transfer_matrix(three, [fooling(4), fooling(4), red_blue], ALLOWED)
    assert np.array_equal(matrix, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert np.isnan(transfer_matrix(three[:1], [red_blue], ALLOWED)).all()


def test_rows_are_read_from_archives_folders_and_audits(tmp_path: Path) -> None:
    rows = tiny_rows(3, 4)
    x = np.stack(list(rows.pixels)).transpose(0, 3, 1, 2)
    y, classes, species = (~rows.live).astype(int), np.array(["live", "spoof"]), np.array(rows.kinds)
    np.savez(tmp_path / "levels.npz", x=x, y=y, classes=classes, species=species)
    np.savez(tmp_path / "shares.npz", x=x.astype(np.float32) / 255, y=1 - y)
    for i, (kind, pixels) in enumerate(zip(rows.kinds, rows.pixels, strict=True)):
        (tmp_path / "images" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / kind / f"{i}.png")
    first = read_rows(tmp_path / "levels.npz", group="species")
    assert first.sha256 == rows.sha256
    assert read_rows(tmp_path / "levels.npz").kinds == ("live",) * 3 + ("spoof",) * 4
    assert read_rows(tmp_path / "shares.npz", live="1").kinds == ("live",) * 3 + ("0",) * 4
    folder = read_rows(tmp_path / "images")
    assert sorted(folder.kinds) == sorted(rows.kinds)
    assert np.array_equal(np.sort(np.stack(list(folder.pixels)), axis=0), np.sort(np.stack(list(rows.pixels)), axis=0))
    safetensors.numpy.save_file({"x": np.ascontiguousarray(x[:2].astype(np.float32) / 255)}, tmp_path / "0001.safetensors")
    assert np.array_equal(read_pictures(tmp_path / "0001.safetensors"), np.stack(rows.pixels[:2]))
    assert len(read_pictures(tmp_path)) == 2 + 7 * 3


@pytest.mark.parametrize(
    "arrays, live, said",
    [
        ({"x": np.zeros((2, 3, 8, 8), np.uint8)}, "0", "no arrays x and y"),
        ({"x": np.zeros((2, 5, 8, 8), np.uint8), "y": np.zeros(2, int)}, "0", "shape"),
        ({"x": np.full((2, 3, 8, 8), 7.0), "y": np.zeros(2, int)}, "0", r"not all in \[0, 1\]"),
        ({"x": np.full((2, 3, 8, 8), np.nan), "y": np.zeros(2, int)}, "0", r"not all in \[0, 1\]"),
        ({"x": np.zeros((2, 3, 8, 8), np.uint8), "y": np.zeros(3, int)}, "0", "2 inputs, 3 classes"),
        ({"x": np.zeros((2, 3, 8, 8), np.uint8), "y": np.zeros(2, int)}, "live", "no class 'live'"),
        ({"x": np.zeros((2, 3, 8, 8), np.uint8), "y": np.zeros(2, int), "classes": np.array(["a", "b"])}, "b", "no row is 'b'"),
    ],
)
def test_rows_that_are_none_are_told(tmp_path: Path, arrays: dict[str, Any], live: str, said: str) -> None:
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(BadData, match=said):
        read_rows(tmp_path / "rows.npz", live)


def test_a_decision_is_found_again(store: Store, shop: dict[str, Ensemble]) -> None:
    verdict = replayed(shop["old"], Picture.fitted(picture(0.7), [SIZE]), ALLOWED)
    told = {"session": "s", "seq": 1, "nonce": "n", "party": "p", "device": "d", "account": "a", "network": "n", "at": 1.0, "node": "here"}
    with store.write() as tx:
        kept = {"accept": verdict.accept, "scores": json.dumps(verdict.scores), "flags": "[]", "state": "decided"}
        tx.run(insert(attempts).values(id=1, ensemble=shop["old"].id, **kept, **told))
        tx.run(insert(attempts).values(id=2, ensemble="x", state="reserved", **told | {"nonce": "m"}))
        was = decision_of(tx, 1)
        assert was.ensemble == shop["old"].id
        assert differs(was, verdict) == []
        for number, said in ((2, "never decided"), (3, "there was none")):
            with pytest.raises(BadGuard, match=said):
                decision_of(tx, number)


def test_what_was_decided_otherwise_is_told() -> None:
    now = Verdict(True, (Vote("a", 1.0, True), Vote("b", 1.0, True)))
    scores: dict[str, int | None] = {"a": 8, "b": 8}
    assert differs(Decision(1, "e", True, scores, ()), now) == []
    assert differs(Decision(1, "e", True, {"a": 9, "b": 7}, ()), now) == []
    assert differs(Decision(1, "e", False, scores, ("replay",)), now) == []
    assert len(differs(Decision(1, "e", False, scores, ()), now)) == 1
    assert len(differs(Decision(1, "e", True, {"a": 10, "b": None}, ()), now)) == 2
    assert len(differs(Decision(1, "e", True, {**scores, "c": 1}, ()), now)) == 1
    assert len(differs(Decision(1, "e", True, scores, ()), Verdict(False, now.votes))) == 1
    near = Verdict(True, (Vote("a", 0.01, True),))
    assert len(differs(Decision(1, "e", False, {"a": -1}, ("x",)), near)) == 1, "a step apart, and on the other side"


# the command line, from a key to a roll-back


@pytest.fixture
def service(tmp_path: Path) -> Path:
    make_keys(tmp_path / "service" / "keys")
    (tmp_path / "service" / "models").mkdir()
    file = tmp_path / "service" / "guard.toml"
    file.write_text("[models]\nshadow = 0\ncanary = 0\n")
    return file


def run(*words: Any) -> tuple[int, str]:
    done = CliRunner().invoke(application(("guard",)), ["--plain", "guard", "models", *map(str, words)])
    return done.exit_code, done.output


def test_the_command_line_leads_from_a_key_to_a_roll_back(service: Path, tmp_path: Path) -> None:
    where, models = ("-c", service), service.parent / "models"
    x = np.stack(list(ROWS.pixels)).transpose(0, 3, 1, 2)
    np.savez(tmp_path / "rows.npz", x=x, y=(~ROWS.live).astype(int), classes=np.array(["live", "spoof"]), species=np.array(ROWS.kinds))
    np.savez(tmp_path / "fooling.npz", x=np.stack(fooling()).transpose(0, 3, 1, 2))
    data = ("--data", tmp_path / "rows.npz", "--group", "species")

    code, said = run("key", tmp_path / "p.key")
    assert code == 0
    assert run("trust", said.split()[-1], *where)[0] == 0
    for name, channels in (("old", {"a": 0, "b": 1}), ("new", {"c": 0, "d": 2}), ("alike", {"e": 1, "f": 0})):
        manifests: list[Path] = []
        for family, channel in channels.items():
            path = tiny_onnx(tmp_path / f"{family}.onnx", channel, 40 + len(name))
            code, said = run("sign", path, *data, "--family", family, "--key", tmp_path / "p.key", "--rejected", 0.1)
            assert (code, "live, rejected" in said) == (0, True), said
            manifests.append(path.with_suffix(".json"))
        code, said = run("bundle", models / name, *manifests, *data, "--key", tmp_path / "p.key")
        assert (code, "print, accepted" in said) == (0, True), said
        assert run("register", models / name, *where)[0] == 0

    assert "first of this guard" in run("live", "old", *where)[1]
    assert run("canary", "new", *where)[0] == 2
    assert run("shadow", "alike", *where)[0] == 0
    code, said = run("gate", "alike", *data, "--fooling", tmp_path / "fooling.npz", *where)
    assert (code, "breached" in said) == (1, True), said
    assert run("canary", "alike", *where)[0] == 2
    assert run("roll-back", *where)[0] == 0
    assert run("shadow", "new", *where)[0] == 0
    code, said = run("gate", "new", *data, "--fooling", tmp_path / "fooling.npz", *where)
    assert (code, "breached" in said) == (0, False), said
    assert run("canary", "new", "--percent", 10, *where) == (0, "ensemble new is canary, for 10% of devices\n")
    assert run("live", "new", *where)[0] == 0
    code, said = run("show", *where)
    assert [line.split()[0] for line in said.splitlines() if "live" in line] == ["new"]
    Image.fromarray(picture(0.9)).save(tmp_path / "sent.png")
    code, said = run("replay", tmp_path / "sent.png", "--ensemble", "old", *where)
    assert (code, "says accept" in said) == (0, True), said
    assert run("roll-back", "--why", "a test", *where)[1] == "ensemble old is live\n"
    assert run("roll-back", *where)[0] == 2


def test_who_is_not_trusted_registers_nothing(service: Path, tmp_path: Path, keys: Any) -> None:
    tiny_ensemble(tmp_path, KEY)
    code, _ = run("register", tmp_path / "first", "-c", service)
    assert code == 2
    assert read_keys(service.parent / "keys").publishers == {}


def record_of(firsts: list[tuple[int, ...]], most: int, rows: int) -> Any:
    """What is read of a finding."""
    told = [SimpleNamespace(first=f, most=most) for f in firsts]
    return SimpleNamespace(name="customer", attacks=told, robust=SimpleNamespace(rows=rows))


def test_what_breaking_cost_is_read_from_the_rows_that_fell() -> None:
    finding = record_of([(50, 10, 30), (2,)], 100, 20)
    assert attack_cost(finding, 0.05) == Cost(2, True, 4, 20)
    assert attack_cost(finding, 0.1) == Cost(10, True, 4, 20)
    assert attack_cost(finding, 0.2) == Cost(50, True, 4, 20)
    assert attack_cost(finding, 0.25) == Cost(200, False, 4, 20), "all that was asked was not enough"
    for nothing in (record_of([], 0, 20), record_of([()], 10, 0)):
        with pytest.raises(BadGuard, match="nothing was asked"):
            attack_cost(nothing)
    with pytest.raises(BadGuard, match="must lie in"):
        attack_cost(finding, 0)
