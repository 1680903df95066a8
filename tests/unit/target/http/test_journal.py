"""The journal gives the n-th answer to the n-th question, counts what was lost, and belongs to one process."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from vauban.errors import BadJournal, BudgetSpent
from vauban.target.http.answer import Reply
from vauban.target.http.bill import Ledger
from vauban.target.http.journal import Journal, Key
from vauban.target.http.settings import Budget, Cost
from vauban.target.http.wire import Packed

A, B = Packed(b"a", 1), Packed(b"b", 2)


def ledger(path: Path | None, **more: object) -> Ledger:
    return Ledger(Journal.at(path), "endpoint", more.get("budget", Budget()), Cost(per_request=1.0, per_row=0.5))


def ask(book: Ledger, row: Packed, score: float, attempt: int = 1) -> Key:
    key = book.key(row)
    book.answer(book.begin(attempt, [key], 10), [key], [Reply((score,))], status=200, seconds=0.1, received=5)
    return key


def test_the_nth_question_gets_the_nth_answer(tmp_path: Path) -> None:
    first = ledger(tmp_path / "j")
    for score in (1.0, 2.0, 3.0):
        ask(first, A, score)
    ask(first, B, 9.0)
    first.journal.release()
    again = ledger(tmp_path / "j")
    assert [again.known(again.key(A)) for _ in range(4)] == [Reply((1.0,)), Reply((2.0,)), Reply((3.0,)), False]
    assert again.known(again.key(B)) == Reply((9.0,))
    assert again.bill.replayed == 4 and again.bill.answered == 4
    again.journal.release()


def test_what_was_under_way_is_spent_and_not_known(tmp_path: Path) -> None:
    first = ledger(tmp_path / "j")
    key = first.key(A)
    first.begin(1, [key], 10)
    first.end(first.begin(2, [key], 10), 1, "no answer", status=429, seconds=0.1, billed=False)
    first.journal.release()
    again = ledger(tmp_path / "j")
    bill = again.bill
    assert (bill.requests, bill.attempts, bill.rows, bill.lost, bill.answered) == (1, 2, 2, 1, 0)
    assert bill.money == 1.5, "an attempt of unknown outcome is paid for; one that was turned away is not"
    assert again.known(again.key(A)) is False
    again.journal.release()


def test_a_question_that_failed_for_good_is_not_asked_again(tmp_path: Path) -> None:
    first = ledger(tmp_path / "j")
    first.fail([first.key(A)])
    first.journal.release()
    again = ledger(tmp_path / "j")
    assert again.known(again.key(A)) is None
    again.journal.release()


@pytest.mark.parametrize(
    ("budget", "fits"), [(Budget(rows=3), 3), (Budget(requests=2), 2), (Budget(money=4.6), 3), (Budget(money=4.5), 3), (Budget(rows=0), 0)]
)
def test_a_budget_is_never_overspent(budget: Budget, fits: int) -> None:
    book = ledger(None, budget=budget)
    for _ in range(fits):
        ask(book, A, 1.0)
    with pytest.raises(BudgetSpent, match="goes on from the journal"):
        book.begin(1, [book.key(A)], 10)
    assert book.bill.attempts == fits


def test_endpoints_do_not_mix(tmp_path: Path) -> None:
    one = ledger(tmp_path / "j")
    ask(one, A, 1.0)
    other = Ledger(Journal.at(tmp_path / "j"), "another", Budget(), Cost())
    assert other.known(other.key(A)) is False and other.bill.attempts == 0
    one.journal.release()
    other.journal.release()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    book = ledger(tmp_path / "j")
    code = f"from pathlib import Path; from vauban.target.http.journal import Journal; Journal.at(Path({str(tmp_path / 'j')!r}))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode and "another process is using this journal" in done.stderr
    book.journal.release()
    assert subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("not a database, but long enough to look like something else" * 20)
    with pytest.raises(BadJournal, match="cannot be used as a journal"):
        Journal.at(tmp_path / "j")
    with sqlite3.connect(tmp_path / "k") as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(BadJournal, match="layout 9"):
        Journal.at(tmp_path / "k")
