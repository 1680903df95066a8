"""The examples run, each by itself as a user would run it, and show what they say they show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
pytest.importorskip("sklearn")


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def percents(text: str) -> list[float]:
    return [float(p) for p in re.findall(r"([\d.]+)% \[", text)]


def test_every_example_is_run_by_a_test() -> None:
    tested = {
        "black_box_sklearn.py",
        "pytest_gate.py",
        "own_attack.py",
        "bpda.py",
        "http_endpoint.py",
        "credit.py",
        "spam_texts.py",
        "masked.py",
    }
    assert {p.name for p in EXAMPLES.glob("*.py")} == tested


def test_a_black_box_pipeline_loses_accuracy_to_blind_tries(tmp_path: Path) -> None:
    clean, robust = percents(run(str(EXAMPLES / "black_box_sklearn.py"), cwd=tmp_path))
    assert clean > 90 > robust > 20


def test_masked_models_look_robust_are_doubted_and_fall(tmp_path: Path) -> None:
    lines = run(str(EXAMPLES / "masked.py"), cwd=tmp_path).splitlines()
    shares = [[int(p) for p in re.findall(r"(\d+)%", line)] for line in lines[::2]]
    assert len(shares) == 4
    for (clean, hurried, adapted), doubted in zip(shares, lines[1::2], strict=True):
        assert clean > 90 and hurried > 70 and adapted < 15
        assert "zero-gradients" in doubted


def test_the_gate_passes_as_a_test(tmp_path: Path) -> None:
    assert "1 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "pytest_gate.py"), cwd=tmp_path)


def test_an_attack_of_ones_own_breaks_what_it_is_made_for(tmp_path: Path) -> None:
    clean, robust = percents(run(str(EXAMPLES / "own_attack.py"), cwd=tmp_path))
    assert clean > 90 and robust < clean - 40


def test_an_attack_of_ones_own_can_be_named_in_a_campaign_file(tmp_path: Path) -> None:
    (tmp_path / "own_attack.py").write_text((EXAMPLES / "own_attack.py").read_text())
    (tmp_path / "vauban.toml").write_text(
        '[target]\nload = "parts.py:model"\noutputs = "logits"\n[data]\nload = "parts.py:data"\n[[threat]]\nname = "painter"\nnorm = "l0"\neps = 4\n'
        'access = "label"\nattack = [{ name = "own_attack.py:dark_spot", spots = 5 }]\n'
    )
    (tmp_path / "parts.py").write_text(
        "from own_attack import brightest_quarter\n\ndef model():\n    return brightest_quarter()[0]\n\ndef data():\n    return brightest_quarter()[1:]\n"
    )
    assert "dark-spot" in run("-m", "vauban.cli", "audit", cwd=tmp_path)


def test_applicants_who_keep_every_rule_are_approved_after_all(tmp_path: Path) -> None:
    told = run(str(EXAMPLES / "credit.py"), cwd=tmp_path)
    outsider, insider = percents(told)
    assert "leaf-tuple, capgd, moeva" in told
    assert insider <= outsider < 100


def test_rounding_looks_robust_until_one_looks_through_it(tmp_path: Path) -> None:
    told = run(str(EXAMPLES / "bpda.py"), cwd=tmp_path)
    naive, through = percents(told)
    assert naive > 90 and through < 10 and "doubted" in told


def test_the_demonstration_shows_a_breach_and_a_hardened_model_that_holds(tmp_path: Path) -> None:
    told = run(str(EXAMPLES / "digits" / "demo.py"), "demo", cwd=tmp_path)
    assert told.count("BREACHED") == 1 and told.count("HOLDS") == 1
    found = re.search(r"robust accuracy from ([\d.]+)% to ([\d.]+)%", told)
    assert found and float(found[1]) < 10 and float(found[2]) > 50
    assert all((tmp_path / "demo" / "runs" / name / "report.html").stat().st_size > 10_000 for name in ("standard", "hardened"))


def test_an_endpoint_is_asked_once_and_its_journal_afterwards(tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    told = run(str(EXAMPLES / "http_endpoint.py"), cwd=tmp_path)
    robust = percents(told)
    spent = [int(n) for n in re.findall(r"(\d+) requests", told)]
    assert robust[0] == robust[1] < 90
    assert spent[0] > 20 and spent[1] == 0


def test_a_spam_filter_falls_to_what_nobody_sees_until_it_is_normalised(tmp_path: Path) -> None:
    typist, typist_behind, ghost, ghost_behind = percents(run(str(EXAMPLES / "spam_texts.py"), cwd=tmp_path))
    assert typist < 50 and typist_behind < 50 and ghost < 50
    assert ghost_behind == 100
    assert (tmp_path / "spam-audit" / "report.html").is_file()
