"""What a fresh process loads: reading a record must stay quick."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "matplotlib", "jinja2", "PIL", "pandas", "scipy")


@pytest.mark.parametrize(
    "module", ["vauban.report", "vauban.report.terminal", "vauban.report.junit", "vauban.report.sarif", "vauban.report.evidence"]
)
def test_readers_of_records_load_nothing_heavy(module: str):
    found = loaded(f"import {module}")
    assert not found & {*HEAVY, "rich", "numpy"}


def test_the_page_loads_no_torch_and_no_pyplot():
    found = loaded("import vauban.report.html")
    assert "torch" not in found
    assert "matplotlib.pyplot" not in found


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
