"""Reading verbs: what they print, and that they start without torch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vauban.campaign.record import Record

Run = Callable[..., Any]

HEAVY = ("torch", "matplotlib", "jinja2", "numpy", "scipy", "pyarrow")


@pytest.mark.parametrize(
    "words",
    [["show", "{}"], ["gate", "{}", "--baseline", "{}"], ["diff", "{}", "{}"], ["show", "{}", "--json"], ["--version"], ["gate", "-h"]],
)
def test_reading_verbs_import_nothing_heavy(runs: Path, words: list[str]) -> None:
    """In a fresh process, for what one test imported another would find."""
    words = [w.format(runs / "holds") for w in words]
    code = f"""
import sys
sys.argv = ['vauban', *{words!r}]
from vauban.cli import entry
try:
    entry()
except SystemExit as end:
    assert end.code in (0, None), end.code
print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_reading_verbs_load_no_pydantic_of_their_own() -> None:
    """Newer releases of Typer load it for every option; what is ours must not."""
    code = """
import sys
import vauban.cli.show, vauban.cli.gate, vauban.cli.diff, vauban.campaign.waivers, vauban.campaign.compare
import vauban.report.terminal, vauban.report.junit
print([m for m in sys.modules if m.partition('.')[0] == 'pydantic'])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_show_prints_the_verdict_and_plain_is_ascii(vauban: Run, runs: Path) -> None:
    done = vauban("show", "runs/breached", "--plain")
    assert done.code == 0
    assert "BREACHED" in done.out
    assert done.out.isascii()


def test_show_names_the_report_that_lies_there(vauban: Run, runs: Path) -> None:
    assert "report.html" not in vauban("show", "runs/holds").out
    (runs / "holds" / "report.html").write_text("")
    assert "report: runs/holds/report.html" in vauban("show", "runs/holds/record.json").out


def test_show_as_json_is_the_record(vauban: Run, records: dict[str, Record], runs: Path, tmp_path: Path) -> None:
    (tmp_path / "again.json").write_text(vauban("show", "runs/holds", "--json").out)
    assert Record.read(tmp_path / "again.json") == records["holds"]


def test_show_without_a_run_says_so(vauban: Run) -> None:
    done = vauban("show")
    assert (done.code, done.err) == (2, "vauban: runs: no run is there; `vauban audit` makes one, or give a run folder\n")


def test_diff_counts_rows_on_each_side(vauban: Run, runs: Path) -> None:
    done = vauban("diff", "runs/holds", "runs/weaker")
    assert done.code == 0
    assert "-5.0*" in done.out
    told = json.loads(vauban("diff", "runs/holds", "runs/weaker", "--json").out)["threats"][0]
    assert (told["both"], told["only_old"], told["only_new"], told["neither"]) == (280, 20, 0, 100)
    assert told["robust"]["p"] == pytest.approx(2 * 0.5**20)


def test_diff_of_runs_that_share_nothing_is_unable_and_says_why(vauban: Run, runs: Path) -> None:
    done = vauban("diff", "runs/holds", "runs/other-data")
    assert done.code == 2
    assert "insider: cannot be compared: the runs attacked different rows" in done.out


def test_a_name_in_a_record_moves_no_cursor(vauban: Run, runs: Path) -> None:
    text = (runs / "holds" / "record.json").read_text().replace('"insider"', '"in\\u001b[2Jsider"')
    (runs / "holds" / "record.json").write_text(text)
    for words in (
        ("show", "runs/holds"),
        ("gate", "runs/holds"),
        ("diff", "runs/holds", "runs/holds"),
        ("diff", "runs/holds", "runs/other-data"),
    ):
        assert "\x1b" not in vauban(*words, "--plain").out


@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")
def test_a_reader_that_leaves_early_is_no_breach(runs: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "vauban.cli", "show", runs / "holds"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
