"""Draw the synthetic faces and put them away: train.npz and test.npz.

    python faces.py [SHARE]

SHARE of the usual number of rows (1 by default) is drawn. The pictures are drawn by a program: no photographs, and no evidence about any real check.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from vauban.data.liveness import synthetic_faces

ROWS = {"train": 1500, "test": 300}


def make(folder: Path, share: float = 1.0) -> None:
    """Write both archives: 8-bit pictures (n, 3, 32, 32), labels, class names, and the species of each row's attack instrument."""
    for split, usual in ROWS.items():
        rows = synthetic_faces(split, rows=round(usual * share))
        pictures = (rows.x * 255).round().byte().numpy()
        np.savez(folder / f"{split}.npz", x=pictures, y=rows.y.numpy(), classes=np.array(rows.classes), species=np.array(rows.groups))


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small a picture is drawn faster on one than on several
    make(Path.cwd(), float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
