"""Measure the golden values anew, print what differs from the file, and rewrite it: `python tests/golden/regenerate.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from goldens import CASES, FILE, held, measured


def main() -> None:
    """Print one line for every value that moved, and write the file."""
    before, after = held(), {name: measured(name) for name in CASES}
    for name, now in after.items():
        then = before.get(name, {})
        for what, values in now.items():
            for row, (new, old) in enumerate(zip(values, then.get(what, [None] * len(values)), strict=True)):
                if new != old:
                    print(f"{name}: row {row}: {what} {old} -> {new}")
    for name in before.keys() - after.keys():
        print(f"{name}: gone")
    lines = ",\n".join(
        f'  {json.dumps(name)}: {{\n    "distance": {json.dumps(v["distance"])},\n    "queries": {json.dumps(v["queries"])}\n  }}'
        for name, v in after.items()
    )
    FILE.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
