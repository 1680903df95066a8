"""`vauban guard init` and `vauban serve` as a user meets them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tiny_models import tiny_ensemble
from whole_guards import home

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
    file = tmp_path / "guard.toml"
    file.write_text(re.sub(r"(?m)^port = \d+", "port = 0", file.read_text()))
    done = run("serve", cwd=tmp_path)
    assert done.returncode == 2
    assert "no ensemble; `vauban guard models bundle` makes one" in done.stderr
    (tmp_path / "guard.toml").write_text("[session]\nattemps = 3\n")
    done = run("serve", cwd=tmp_path)
    assert "guard.toml:2: [session] no key 'attemps' is known here; did you mean 'attempts'?" in done.stderr
    (tmp_path / "guard.toml").write_text("[listen]\nport = 9000\n[console]\nport = 9000\n")
    done = run("serve", cwd=tmp_path)
    assert done.returncode == 2
    assert "[listen] and [console] are both at 127.0.0.1:9000; give each a port of its own" in done.stderr


def test_the_guard_starts_without_torch() -> None:
    code = "import sys, vauban.guard.server.run; assert 'torch' not in sys.modules; assert 'scipy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_an_override_passes_over_and_who_retires_is_told(tmp_path: Path) -> None:
    at = home(tmp_path)
    tiny_ensemble(tmp_path / "others", at.publisher, "second")

    def models(*words: str) -> subprocess.CompletedProcess[str]:
        return run("--plain", "guard", "models", *words, cwd=tmp_path)

    for name, folder in (("first", "models"), ("second", "others")):
        assert f"ensemble {name}" in models("register", f"{folder}/{name}").stdout
    assert "ensemble first is live: the first of this guard" in models("live", "first").stdout
    assert models("live", "second").returncode == 2
    done = models("live", "second", "--override", "the old one is broken").stdout.splitlines()
    assert done[0] == "ensemble second is live; first is retired, and `roll-back` brings it back"
    assert done[1].endswith("passed over, and the ledger says why: the old one is broken")
    assert "ensemble first is live" in models("roll-back").stdout
