"""Rows from a NumPy .npz archive."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from vauban.data.raw import Array, Ask, Raw, as_groups
from vauban.errors import BadData, nearest

X_NAMES = ("x", "x_test", "test_x", "images", "test_images", "images_test", "data", "inputs", "features")
Y_NAMES = ("y", "y_test", "test_y", "labels", "test_labels", "labels_test", "target", "targets", "label", "classes_y")


def read_npz(path: Path, ask: Ask) -> Raw:
    """Inputs, labels, groups and class names from an archive; nothing in it is unpickled.

    Without keys said, the usual names are tried ("x", "x_test", "images", ...; with `split`, "x_<split>", "<split>_images", ...).
    """
    who = path.name
    arrays = _Archive(path)
    x, y = arrays.get(ask.x, "x", X_NAMES, ask.split), arrays.get(ask.y, "y", Y_NAMES, ask.split)
    names = next((arrays.read(k) for k in ("classes", "class_names") if k in arrays.keys), None)
    groups = None
    if ask.group is not None:
        if ask.group not in arrays.keys:
            raise BadData(f"{who}: no array {ask.group!r} for group; {nearest(ask.group, arrays.keys)}")
        groups = as_groups(arrays.read(ask.group))
    return Raw(x, y, who, classes=None if names is None else as_groups(names), groups=groups, group_column=ask.group or "")


class _Archive:
    """The arrays of an archive by name, each read when asked for; damage is told in one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            loaded = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BadData(f"{path.name} is not a readable .npz archive: {error}") from error
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise BadData(f"{path.name} holds a single array; save inputs and labels together: np.savez(path, x=x, y=y)")
        self._loaded, self.keys = loaded, list(loaded.files)

    def read(self, key: str) -> Array:
        try:
            return self._loaded[key]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BadData(f"{self.path.name}: array {key!r} cannot be read ({error}); save plain numbers, not objects") from error

    def get(self, key: str, default: str, usual: tuple[str, ...], split: str | None) -> Array:
        """The array under `key`, or, where that is only the default, under one of the usual names."""
        words = [key]
        if split is not None:
            words = [pattern.format(stem, split) for stem in (key, *usual) for pattern in ("{0}_{1}", "{1}_{0}")]
        elif key == default:
            words = [key, *usual]
        lower = {k.lower(): k for k in reversed(self.keys)}
        found = next((k for word in words for k in ([word] if word in self.keys else [lower.get(word.lower())]) if k), None)
        if found is None:
            part = f" for split {split!r}" if split else ""
            raise BadData(
                f"{self.path.name}: no array {key!r}{part}; it holds {', '.join(self.keys) or 'nothing'}: say {default} = one of them"
            )
        return self.read(found)
