"""Whatever goes wrong in a verb is a sentence and an exit code, and never 1."""

import pytest
import typer

from vauban.cli.edge import guarded
from vauban.cli.main import GLOBAL, hoisted
from vauban.errors import BadPlan, Missing, VaubanError


def ended(error: BaseException | int | None) -> int:
    def verb() -> int | None:
        if isinstance(error, BaseException):
            raise error
        return error

    with pytest.raises(typer.Exit) as end:
        guarded(verb)()
    return end.value.exit_code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadPlan("vauban.toml:3: eps = 8 is too large"), 2, "vauban: vauban.toml:3: eps = 8 is too large\n"),
        (Missing("joblib is not installed"), 2, "vauban: joblib is not installed\n"),
        (VaubanError("no"), 2, "vauban: no\n"),
        (KeyboardInterrupt(), 130, "vauban: interrupted; what was finished is kept\n"),
        (typer.Abort(), 130, "vauban: interrupted; what was finished is kept\n"),
        (OSError(28, "No space left on device", "runs/x"), 2, "vauban: runs/x: No space left on device\n"),
        (OSError("odd"), 2, "vauban: odd\n"),
        (None, 0, ""),
        (3, 3, ""),
        (typer.Exit(3), 3, ""),
    ],
)
def test_each_end_has_its_code_and_sentence(
    capsys: pytest.CaptureFixture[str], error: BaseException | int | None, code: int, said: str
) -> None:
    assert ended(error) == code
    assert capsys.readouterr().err == said


def test_a_crash_shows_where_and_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(ZeroDivisionError("oops")) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1] == (
        "vauban: stopped by an error that nobody foresaw, ZeroDivisionError, at the place above; this is no verdict on the model"
    )


def test_global_options_may_stand_anywhere_before_a_double_dash() -> None:
    assert hoisted(["gate", "-q", "x", "--plain"]) == ["-q", "--plain", "gate", "x"]
    assert hoisted(["gate", "--", *GLOBAL]) == ["gate", "--", *GLOBAL]
