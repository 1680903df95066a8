"""`vauban guard init` and `vauban serve` as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from vauban.guard.config import read_guard


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vauban.cli", *words], cwd=cwd, capture_output=True, text=True, check=False)


def test_init_writes_a_file_that_is_read_and_keys_that_it_knows(tmp_path: Path) -> None:
    done = run("--json", "guard", "init", "service", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    config = read_guard(tmp_path / "service" / "guard.toml")
    assert config.session.attempts == 3 and config.limits.device.count == 10
    assert told["backend"] not in (tmp_path / "service" / "guard.toml").read_text()
    again = run("guard", "init", "service", cwd=tmp_path)
    assert again.returncode == 2 and "not written over" in again.stderr


def test_what_keeps_a_guard_from_starting_is_one_sentence(tmp_path: Path) -> None:
    assert "vauban guard init" in run("serve", cwd=tmp_path).stderr
    run("guard", "init", cwd=tmp_path)
    done = run("serve", cwd=tmp_path)
    assert done.returncode == 2
    assert "no ensemble; `vauban guard models bundle` makes one" in done.stderr
    (tmp_path / "guard.toml").write_text("[session]\nattemps = 3\n")
    done = run("serve", cwd=tmp_path)
    assert "guard.toml:2: [session] no key 'attemps' is known here; did you mean 'attempts'?" in done.stderr


def test_the_guard_starts_without_torch() -> None:
    code = "import sys, vauban.guard.server.run; assert 'torch' not in sys.modules; assert 'scipy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
