"""An ensemble: a folder of models with their manifests, and a signed document that says which belong together."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from vauban.errors import BadManifest
from vauban.guard.quorum.calibrate import LEVEL, errors_of, now, scored, told_apart
from vauban.guard.quorum.manifest import KIND as MODEL
from vauban.guard.quorum.manifest import Errors, FileName, Manifest, Name, Part, Sha256, Share, manifest_of
from vauban.guard.quorum.model import Model, load
from vauban.guard.quorum.quorum import Quorum
from vauban.guard.quorum.rows import Rows
from vauban.guard.quorum.signed import digest, opened, read_document, signed, write_document
from vauban.guard.quorum.votes import Vote, Way, accepted

KIND = "vauban ensemble"
FILE = "ensemble.json"
MOST = 9


class Measured(Part):
    """What the ensemble does with rows as one.

    Attributes:
        vote: how it was counted.
        live: the live rows.
        attacks: attacks by their kind.
        rows_sha256: of the rows.
    """

    vote: Literal["unanimous", "majority"]
    level: Share
    live: Errors
    attacks: dict[str, Errors]
    rows_sha256: Sha256


class Document(Part):
    """What is signed: the models by the files of their manifests, each with the digest of what its manifest says."""

    format: Literal[1] = 1
    ensemble: Name
    models: Annotated[dict[FileName, Sha256], Field(min_length=1, max_length=MOST)]
    measured: Measured | None = None
    made: str


@dataclass(frozen=True)
class Ensemble:
    """Models that were found to be signed, and to belong together.

    Attributes:
        id: SHA-256 of what was signed; one of its parts changed, and it is another ensemble.
        name: for people.
        folder: where its files lie.
        manifests: of its models.
        files: every file that belongs to it.
        measured: what it did as one, where that was measured.
        made: when, ISO 8601.
    """

    id: str
    name: str
    folder: Path
    manifests: tuple[Manifest, ...]
    files: tuple[str, ...]
    measured: Measured | None
    made: str

    @property
    def families(self) -> tuple[str, ...]:
        """The architecture families, each once."""
        return tuple(dict.fromkeys(m.family for m in self.manifests))

    @property
    def sizes(self) -> frozenset[tuple[int, int]]:
        """The sizes in which its models want pictures."""
        return frozenset(m.size for m in self.manifests)

    def models(self) -> list[Model]:
        """All models, loaded.

        Raises:
            BadManifest: a file is not what was signed.
        """
        return [load(manifest, self.folder) for manifest in self.manifests]

    def quorum(self, vote: Way = "unanimous", least: int | None = None, timeout: float = 2.0) -> Quorum:
        """The models in service; by default all of them must answer.

        Raises:
            BadManifest: a file is not what was signed, or a model does not answer as it did.
        """
        return Quorum(self.models(), vote, least or len(self.manifests), timeout, self.id)


def read_ensemble(folder: Path, publishers: Mapping[str, Ed25519PublicKey], approvals: int = 1) -> Ensemble:
    """The ensemble in a folder; every signature is verified before anything is believed.

    Args:
        publishers: who may sign.
        approvals: how many of them must have signed the ensemble; each model needs one.

    Raises:
        BadManifest: something is not signed, changed, or cannot be meant.
    """
    path = folder / FILE
    value = opened(read_document(path), KIND, publishers, str(path), approvals)
    try:
        told = Document.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadManifest(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    manifests = tuple(_manifest(folder / name, wanted, publishers) for name, wanted in told.models.items())
    files = (FILE, *told.models, *(m.file for m in manifests))
    return Ensemble(digest(value), told.ensemble, folder, manifests, files, told.measured, told.made)


def bundle(
    folder: Path, name: str, manifests: Sequence[Path], key: Ed25519PrivateKey, rows: Rows | None = None, vote: Way = "unanimous"
) -> Ensemble:
    """Copy models and manifests into a new folder, and sign that they belong together.

    Args:
        folder: made here.
        manifests: of the models; each with its ONNX file beside it.
        key: signs the ensemble; must be one that signed the models, since it is taken as the publisher of all.
        rows: to measure what the ensemble does as one.

    Raises:
        BadManifest: a model is not signed with this key, two are of one family or the same file, or the folder is there already.
        BadData: as one they accept attacks at least as often as live rows.
    """
    from vauban.guard.keys import key_id

    publishers = {key_id(key.public_key()): key.public_key()}
    told = [(path, manifest_of(opened(read_document(path), MODEL, publishers, str(path)), str(path))) for path in manifests]
    _diverse([manifest for _, manifest in told], name)
    _different(told, name)
    if folder.exists():
        raise BadManifest(f"{folder}: is there already; an ensemble is not written over")
    value: dict[str, Any] = {"format": 1, "ensemble": name, "made": now()}
    if rows is not None:
        models = [load(manifest, path.parent) for path, manifest in told]
        found = measured(decided(models, rows, vote), rows, vote)
        told_apart(found.live, found.attacks, f"ensemble {name!r}")
        value["measured"] = found.model_dump(mode="json")
    folder.mkdir(parents=True)
    held: dict[str, str] = {}
    for path, manifest in told:
        shutil.copyfile(path.parent / manifest.file, folder / manifest.file)
        copied = f"{manifest.model}.json"
        document = read_document(path)
        write_document(folder / copied, document)
        held[copied] = digest(document["value"])
    write_document(folder / FILE, signed(KIND, {**value, "models": held}, key))
    return read_ensemble(folder, publishers)


def decided(models: Sequence[Model], rows: Rows, vote: Way) -> npt.NDArray[np.bool_]:
    """Which rows the models accept together, bool (n,), each row asked as the guard asks."""
    scores = [scored(model, rows) for model in models]
    found: list[bool] = []
    for row in range(len(rows)):
        votes = [
            Vote(m.manifest.model, float(s[row]), bool(s[row] > m.manifest.threshold) if np.isfinite(s[row]) else None)
            for m, s in zip(models, scores, strict=True)
        ]
        found.append(accepted(votes, vote, len(models)))
    return np.array(found, bool)


def measured(accept: npt.NDArray[np.bool_], rows: Rows, vote: Way) -> Measured:
    """What an ensemble does with rows as one, from what it accepted of them."""
    live, attacks = errors_of(accept, rows)
    return Measured(vote=vote, level=LEVEL, live=live, attacks=attacks, rows_sha256=rows.sha256)


def _manifest(path: Path, wanted: str, publishers: Mapping[str, Ed25519PublicKey]) -> Manifest:
    value = opened(read_document(path), MODEL, publishers, str(path))
    if digest(value) != wanted:
        raise BadManifest(f"{path}: is not the manifest that the ensemble was signed with")
    return manifest_of(value, str(path))


def _diverse(manifests: Sequence[Manifest], name: str) -> None:
    for what, why in (
        ("family", "what fools one fools the other"),
        ("model", "votes are told by it"),
        ("file", "one would hide the other"),
    ):
        held = [getattr(m, what) for m in manifests]
        twice = sorted({h for h in held if held.count(h) > 1})
        if twice:
            raise BadManifest(f"ensemble {name!r}: {twice[0]!r} is the {what} of two models; {why}")


def _different(told: Sequence[tuple[Path, Manifest]], name: str) -> None:
    """One file under two names votes twice, and no guard serves that."""
    files: dict[str, Path] = {}
    for path, manifest in told:
        file = path.parent / manifest.file
        if (first := files.setdefault(manifest.sha256, file)) != file:
            raise BadManifest(f"ensemble {name!r}: {first} and {file} are byte for byte the same model; what fools one fools the other")
