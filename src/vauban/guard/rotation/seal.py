"""Sealed copies: an ensemble that was registered is kept under its id, read-only, and never changes; old decisions can be replayed with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vauban.errors import BadManifest
from vauban.guard.quorum.ensemble import FILE, Ensemble, read_ensemble

SEALED = ".sealed"
Publishers = Mapping[str, Ed25519PublicKey]


def seal(folder: Path, ensemble: Ensemble, publishers: Publishers) -> Ensemble:
    """Keep a copy of an ensemble; the copy, verified again. One that is there already is left as it is.

    Args:
        folder: `[models] folder`.

    Raises:
        BadManifest: a model's file is not what was signed, or the copy cannot be written.
    """
    place = folder / SEALED / ensemble.id
    if not place.exists():
        ensemble.models()
        try:
            place.parent.mkdir(exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=".part-", dir=place.parent))
            for name in ensemble.files:
                shutil.copyfile(ensemble.folder / name, beside / name)
                (beside / name).chmod(0o444)
            beside.chmod(0o555)
            _put(beside, place)
        except OSError as error:
            raise BadManifest(f"{place}: cannot be written: {error.strerror or error}") from error
    return sealed(folder, ensemble.id, publishers)


def sealed(folder: Path, name: str, publishers: Publishers) -> Ensemble:
    """The sealed ensemble with this id. Where this machine has no copy yet, one is made of the same ensemble in `folder`.

    How many approvals it had was looked at when it was registered.

    Raises:
        BadManifest: there is none, or it was changed.
    """
    place = folder / SEALED / name
    if not place.exists():
        for document in sorted(folder.glob(f"*/{FILE}")):
            found = read_ensemble(document.parent, publishers)
            if found.id == name:
                return seal(folder, found, publishers)
        raise BadManifest(f"{folder}: ensemble {name[:16]} is not on this machine; copy its folder here from where it was registered")
    found = read_ensemble(place, publishers)
    if found.id != name:
        raise BadManifest(f"{place}: holds another ensemble than it is named after")
    return found


def only(folder: Path, publishers: Publishers, approvals: int = 1) -> Ensemble:
    """The one ensemble in a folder, for a guard that has none yet.

    Raises:
        BadManifest: there is none, or there are several.
    """
    found = sorted(folder.glob(f"*/{FILE}"))
    if len(found) != 1:
        told = (
            "no ensemble; `vauban guard models bundle` makes one" if not found else f"{len(found)} ensembles; register one and make it live"
        )
        raise BadManifest(f"{folder}: holds {told}")
    return read_ensemble(found[0].parent, publishers, approvals)


def _put(beside: Path, place: Path) -> None:
    try:
        beside.rename(place)
    except OSError:
        if not place.exists():  # another process was faster: the same files are there
            raise
        shutil.rmtree(beside)
