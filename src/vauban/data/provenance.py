"""What rows are, as a sha256: so that a record says which data it speaks of, without keeping them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from torch import Tensor


def fingerprint(*arrays: Tensor | np.ndarray[Any, Any]) -> str:
    """sha256, in hex, of the dtype, shape and bytes (C order, little-endian) of each array in turn.

    >>> fingerprint(np.zeros(3)) == fingerprint(np.zeros((3, 1)))
    False
    """
    digest = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array.detach().cpu().numpy() if isinstance(array, Tensor) else array)
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{little.dtype.str}{tuple(np.shape(array))}".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()
