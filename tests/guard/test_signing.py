"""What a publisher gets wrong when signing is told in a sentence: a model turned back to front, two files that are one, labels of no class."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from tiny_models import SIZE, tiny_onnx, tiny_rows
from typer.testing import CliRunner, Result
from whole_guards import home

from vauban.cli.guard_models import doubts_about
from vauban.cli.main import application
from vauban.errors import BadData, BadManifest
from vauban.guard.keys import key_id
from vauban.guard.quorum.calibrate import Asked, operating_point, sign, told_apart
from vauban.guard.quorum.ensemble import bundle
from vauban.guard.quorum.manifest import Errors
from vauban.guard.quorum.rows import Rows, read_rows
from vauban.guard.quorum.signed import make_publisher, opened, read_document, signed, write_document

KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ROWS = tiny_rows()
X = np.stack(list(ROWS.pixels))
Y = (~ROWS.live).astype(int)
NAMES = np.array(["live", "spoof"])


def guard(*words: Any) -> Result:
    return CliRunner().invoke(application(("guard",)), ["--plain", "guard", *map(str, words)])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a model, rows, and a publisher's key."""
    tiny_onnx(tmp_path / "m.onnx")
    np.savez(tmp_path / "rows.npz", x=X, y=Y, classes=NAMES)
    make_publisher(tmp_path / "p.key")
    return tmp_path


def signing(shop: Path, *more: Any, data: str = "rows.npz") -> Result:
    return guard("models", "sign", shop / "m.onnx", "--data", shop / data, "--family", "f", "--key", shop / "p.key", *more)


def test_a_model_turned_back_to_front_is_not_signed(shop: Path) -> None:
    done = signing(shop, "--index", 1)
    assert done.exit_code == 2
    for said in ("accepts 60 of 60 attacks (100.0%)", "live rows", "check --index", "order of the classes"):
        assert said in done.stderr
    assert not (shop / "m.json").exists()


@pytest.mark.parametrize(
    "live, attacks, refused",
    [
        ((100, 5), {"print": (10, 9), "mask": (10, 9)}, False),
        ((100, 10), {"print": (10, 9), "mask": (10, 9)}, True),
        ((100, 5), {"print": (10, 10), "mask": (10, 9)}, True),
        ((100, 5), {"print": (10, 10), "mask": (30, 0)}, False),
        ((100, 100), {"print": (10, 0)}, True),
        ((100, 100), {}, False),
    ],
)
def test_attacks_must_be_accepted_less_often_than_live_rows(
    live: tuple[int, int], attacks: dict[str, tuple[int, int]], refused: bool
) -> None:
    def errors(told: tuple[int, int]) -> Errors:
        return Errors(rows=told[0], wrong=told[1], bounds=(0.0, 1.0))

    found = {kind: errors(told) for kind, told in attacks.items()}
    if refused:
        with pytest.raises(BadData, match="here: accepts"):
            told_apart(errors(live), found, "here")
    else:
        told_apart(errors(live), found, "here")


def turned(rows: Rows) -> Rows:
    """The same with its kinds the other way round."""
    return Rows(rows.pixels, tuple("print" if live else "live" for live in rows.live))


def test_models_turned_back_to_front_are_not_bundled_and_leave_no_folder(tmp_path: Path) -> None:
    made: list[Path] = []
    for channel in (0, 1):
        path = tiny_onnx(tmp_path / f"{channel}.onnx", channel)
        sign(path, ROWS, Asked(f"m{channel}", f"f{channel}"), KEY)
        made.append(path.with_suffix(".json"))
    with pytest.raises(BadData, match=r"ensemble 'e': accepts 1\d\d of 120 attacks"):
        bundle(tmp_path / "e", "e", made, KEY, turned(ROWS))
    assert not (tmp_path / "e").exists()
    assert bundle(tmp_path / "e", "e", made, KEY, ROWS).measured is not None


def test_which_output_is_live_is_taken_from_the_classes_unless_it_is_told(shop: Path) -> None:
    np.savez(shop / "swapped.npz", x=255 - X, y=1 - Y, classes=NAMES[::-1])
    assert signing(shop, data="swapped.npz").exit_code == 0
    assert read_document(shop / "m.json")["value"]["output"]["live"] == 1
    refused = signing(shop, "--index", 0, data="swapped.npz")
    assert (refused.exit_code, "check --index" in refused.stderr) == (2, True)
    assert signing(shop).exit_code == 0
    assert read_document(shop / "m.json")["value"]["output"]["live"] == 0
    assert "place in `classes`" in " ".join(guard("models", "sign", "--help").stdout.split())


def test_no_attack_passes_for_live_by_its_name(shop: Path) -> None:
    done = signing(shop, "--live", "spoof")
    assert (done.exit_code, "'spoof' is said to be live" in done.stderr) == (2, True)
    np.savez(shop / "species.npz", x=X, y=Y, classes=np.array(["real", "spoof"]), species=np.where(np.arange(len(Y)) % 2, "live", "mask"))
    with pytest.raises(BadData, match='another class are called "live"'):
        read_rows(shop / "species.npz", "real", "species")
    for kind in ("real", "live", "mask"):
        (shop / "images" / kind).mkdir(parents=True)
        Image.fromarray(ROWS.pixels[0]).save(shop / "images" / kind / "0.png")
    with pytest.raises(BadData, match='another class are called "live"'):
        read_rows(shop / "images", "real")
    assert sorted(read_rows(shop / "images").kinds) == ["live", "mask", "real"]


@pytest.mark.parametrize(
    "more, said",
    [
        (("--output", "scores"), "'logits', 'probabilities'"),
        (("--mean", "0.5,0.5"), "one number for each of 3 channels"),
        (("--std", "1,0,1"), "std"),
        (("--mean", "nan,0,0"), "mean"),
        (("--output", "logit", "--index", 2), "live must be 0 or 1"),
        (("--rejected", 0), "must be above 0 and below 1"),
        (("--rejected", 1), "must be above 0 and below 1"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(shop: Path, more: tuple[Any, ...], said: str) -> None:
    done = signing(shop, *more)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (shop / "m.json").exists()


LABELS = {
    "beyond": (Y + 5, "y holds 5, which is no class; classes has 2 names"),
    "negative": (np.where(Y, -1, 0), "y holds -1"),
    "broken": (Y / 2, "y holds 0.5"),
    "nan": (np.where(Y, np.nan, 0.0), "y holds nan"),
    "text": (NAMES[Y], "the number of its class is needed"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_no_class_are_told(shop: Path, name: str) -> None:
    y, said = LABELS[name]
    np.savez(shop / "labels.npz", x=X, y=y, classes=NAMES)
    at = home(shop / "guard")
    for done in (signing(shop, data="labels.npz"), guard("calibrate", at.file, "--data", shop / "labels.npz")):
        assert done.exit_code == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    np.savez(shop / "unnamed.npz", x=X, y=np.where(Y, -1, 0))
    with pytest.raises(BadData, match="y holds -1"):
        read_rows(shop / "unnamed.npz", "0")


def test_whole_numbers_of_any_type_are_labels(tmp_path: Path) -> None:
    for y in (Y, Y.astype(bool), Y.astype(np.uint8), Y.astype(np.float32), Y[:, None]):
        np.savez(tmp_path / "rows.npz", x=X, y=y, classes=NAMES)
        found = read_rows(tmp_path / "rows.npz")
        assert (found.live.tolist(), found.number) == (ROWS.live.tolist(), 0)


def test_one_file_under_two_names_is_no_ensemble(tmp_path: Path) -> None:
    first = tiny_onnx(tmp_path / "first.onnx")
    second = Path(shutil.copy(first, tmp_path / "second.onnx"))
    for path in (first, second):
        sign(path, ROWS, Asked(path.stem, path.stem), KEY)
    with pytest.raises(BadManifest, match="byte for byte") as told:
        bundle(tmp_path / "e", "e", [first.with_suffix(".json"), second.with_suffix(".json")], KEY)
    assert str(first) in str(told.value)
    assert str(second) in str(told.value)
    assert not (tmp_path / "e").exists()


def test_what_was_not_measured_is_said(shop: Path) -> None:
    np.savez(shop / "live.npz", x=X[ROWS.live], y=Y[ROWS.live], classes=NAMES)
    done = signing(shop, data="live.npz")
    assert done.exit_code == 0
    assert [line for line in done.stderr.splitlines() if "was not measured" in line] == [
        f"vauban: {shop / 'live.npz'} holds no attacks: what they get from model m was not measured"
    ]
    assert signing(shop).stderr == ""
    for i, (data, said) in enumerate([((), "without --data"), (("--data", shop / "live.npz"), "the rows hold no attacks")]):
        done = guard("models", "bundle", shop / f"e{i}", shop / "m.json", "--key", shop / "p.key", *data)
        assert done.exit_code == 0
        assert f"{said}: what attacks get from ensemble e{i} was not measured" in done.stderr
        assert "is one model" in done.stderr


def test_an_ensemble_that_rejects_many_live_rows_is_doubted(tmp_path: Path) -> None:
    """Each model rejects within its own budget on the rows it was calibrated on; other rows tell what service will see."""
    made: list[Path] = []
    for channel in (0, 1):
        path = tiny_onnx(tmp_path / f"{channel}.onnx", channel)
        sign(path, ROWS, Asked(f"m{channel}", f"f{channel}"), KEY)
        made.append(path.with_suffix(".json"))
    assert doubts_about(bundle(tmp_path / "good", "good", made, KEY, ROWS)) == []
    dark = [np.full((*SIZE, 3), 100, np.uint8)] * 20
    harder = Rows([*ROWS.pixels, *dark], (*ROWS.kinds, *["live"] * 20))
    found = bundle(tmp_path / "harsh", "harsh", made, KEY, harder)
    assert found.measured is not None
    (doubt,) = doubts_about(found)
    assert f"rejects up to {found.measured.live.bounds[1]:.1%} of live rows" in doubt
    assert "10%" in doubt


def test_data_that_are_none_are_told_without_advice_of_others(tmp_path: Path) -> None:
    (tmp_path / "junk.npz").write_bytes(b"no archive at all")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object), y=np.zeros(1))
    np.save(tmp_path / "one.npy", X[:2])
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    for name, said in {
        "junk.npz": r"is no archive of arrays \(.npz\); `numpy.savez` writes one$",
        "one.npy": "is no archive of arrays",
        "objects.npz": "or holds objects",
        "empty": "the folder is empty",
        "texts": "holds no images",
        "nope.npz": "there is no such file$",
    }.items():
        with pytest.raises(BadData, match=said) as told:
            read_rows(tmp_path / name)
        assert "pickle" not in str(told.value)


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, float("nan")])
def test_a_budget_out_of_range_is_told(budget: float) -> None:
    with pytest.raises(BadData, match="above 0 and below 1"):
        operating_point(np.arange(200.0), budget)


def test_a_change_after_signing_is_told_from_a_stranger(tmp_path: Path) -> None:
    known, path = {key_id(KEY.public_key()): KEY.public_key()}, tmp_path / "m.json"
    document = signed("a kind", {"threshold": 1.0}, KEY)
    write_document(path, {**document, "value": {"threshold": 2.0}})
    with pytest.raises(BadManifest, match=f"m.json: was changed after it was signed: the signature of {key_id(KEY.public_key())}"):
        opened(read_document(path), "a kind", known, str(path))
    with pytest.raises(BadManifest, match="no publisher that this guard knows"):
        opened(signed("a kind", {"threshold": 1.0}, STRANGER), "a kind", known, str(path))
    assert opened(document, "a kind", known, str(path)) == {"threshold": 1.0}
