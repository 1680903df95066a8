"""Child processes that feel an interrupt as one started from a keyboard does, whatever the tests themselves were started from."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def start(words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A command with its output kept. A shell's background job ignores interrupts and hands that on to its children; this one does not."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL) if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else None
    try:
        return subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
