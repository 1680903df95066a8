"""The ledger: whatever is done to its rows or its checkpoints, the first row that shows it is named."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update

from vauban.errors import BadLedger, GuardDown
from vauban.guard.canonical import canonical
from vauban.guard.keys import Keys
from vauban.guard.ledger import Ledger, verify
from vauban.guard.ledger.chain import heads, records
from vauban.guard.storage import Store


@pytest.fixture
def lite(sqlite_url: str) -> Iterator[Store]:
    """A store on SQLite, where what is tested does not depend on the database."""
    made = Store(sqlite_url)
    made.create()
    yield made
    made.close()


def written(store: Store, keys: Keys, rows: int = 10, node: str = "a") -> Ledger:
    ledger = Ledger(keys, node)
    with store.write() as tx:
        for i in range(rows):
            assert ledger.append(tx, "decision", {"accept": i % 2 == 0, "attempt": f"t{i}"}) == i + 1
    return ledger


def done(store: Store, *statements: object) -> None:
    with store.write() as tx:
        for statement in statements:
            tx.run(statement)


def at(seq: int, node: str = "a") -> object:
    return (records.c.node == node) & (records.c.seq == seq)


def first_fault(store: Store, keys: Keys, *anchors: Path) -> str:
    return str(verify(store, keys, anchors).faults[0])


def test_a_ledger_that_nobody_touched_holds(store: Store, keys: Keys, tmp_path: Path) -> None:
    for node in ("a", "b"):
        written(store, keys, 10, node).checkpoint(store, tmp_path / "anchor")
    checked = verify(store, keys, [tmp_path / "anchor"])
    assert checked.holds and checked.rows == 22 and checked.chains == {"a": 11, "b": 11} and checked.checkpoints == 2
    assert checked.newest is not None


def test_the_code_of_a_row_is_the_hmac_of_the_code_before_and_the_row(store: Store, keys: Keys) -> None:
    written(store, keys, 2)
    with store.read() as tx:
        one, two = tx.run(select(records).order_by(records.c.seq)).all()
    line = json.dumps(["a", 2, two.at, "decision", '{"accept":false,"attempt":"t1"}'], separators=(",", ":"))
    assert bytes(two.mac) == hmac.new(keys.ledger, bytes(one.mac) + line.encode(), sha256).digest()


@pytest.mark.parametrize("change", [{"body": "{}"}, {"kind": "other"}, {"at": 1.0}, {"mac": b"\0" * 32}], ids=["body", "kind", "at", "mac"])
@pytest.mark.parametrize("seq", [1, 10])
def test_an_edited_row_is_named(store: Store, keys: Keys, change: dict[str, object], seq: int) -> None:
    written(store, keys)
    done(store, update(records).where(at(seq)).values(**change))
    assert first_fault(store, keys) == f'ledger of "a": row {seq} was changed, or is not the one that was written here'


@pytest.mark.parametrize("seq", [1, 5, 10])
def test_a_deleted_row_is_named(lite: Store, keys: Keys, seq: int) -> None:
    written(lite, keys)
    done(lite, delete(records).where(at(seq)))
    assert f"row {seq} is missing" in first_fault(lite, keys)


def test_a_deleted_row_whose_followers_moved_up_is_named(lite: Store, keys: Keys) -> None:
    written(lite, keys)
    done(lite, delete(records).where(at(4)))
    for seq in range(5, 11):
        done(lite, update(records).where(at(seq)).values(seq=seq - 1))
    done(lite, update(heads).values(seq=9))
    assert "row 4 was changed" in first_fault(lite, keys)


def test_two_rows_that_changed_places_are_named(lite: Store, keys: Keys) -> None:
    written(lite, keys)
    done(lite, *(update(records).where(at(a)).values(seq=b) for a, b in ((3, 99), (7, 3), (99, 7))))
    assert "row 3 was changed" in first_fault(lite, keys)


def test_a_row_of_another_chain_fits_nowhere(lite: Store, keys: Keys) -> None:
    written(lite, keys, 5, "a")
    written(lite, keys, 5, "b")
    done(lite, delete(records).where(at(5)), update(records).where(at(5, "b")).values(node="a"))
    assert [f.seq for f in verify(lite, keys).faults] == [5, 5]


@pytest.mark.parametrize("seq", [11, 0])
def test_a_row_that_was_put_in_is_named(store: Store, keys: Keys, seq: int) -> None:
    written(store, keys)
    done(store, insert(records).values(node="a", seq=seq, at=1.0, kind="decision", body="{}", mac=b"\0" * 32))
    assert f"row {min(seq, 11)} was put in" in first_fault(store, keys)


def test_rows_cut_off_the_end_are_missed_by_the_count_of_the_database(lite: Store, keys: Keys) -> None:
    written(lite, keys)
    done(lite, delete(records).where(records.c.seq > 8))
    assert first_fault(lite, keys) == 'ledger of "a": row 9 is missing; the chain goes on to row 10'


def test_rows_cut_off_together_with_the_count_are_missed_by_the_checkpoint(store: Store, keys: Keys, tmp_path: Path) -> None:
    ledger = written(store, keys)
    ledger.checkpoint(store, tmp_path / "anchor")
    cut(store, 8)
    assert verify(store, keys).holds  # nothing outside the database: it cannot be known
    assert first_fault(store, keys, tmp_path / "anchor") == 'ledger of "a": row 9 is missing: checkpoint 1 signed 10 rows'


def cut(store: Store, left: int, node: str = "a") -> None:
    """What an intruder with all rights on the database does."""
    with store.write() as tx:
        tx.run(delete(records).where(records.c.node == node, records.c.seq > left))
        mac = tx.run(select(records.c.mac).where(at(left, node))).scalar_one()
        tx.run(update(heads).where(heads.c.node == node).values(seq=left, mac=mac))


def test_a_chain_that_was_taken_out_whole_is_missed_by_the_checkpoint(store: Store, keys: Keys, tmp_path: Path) -> None:
    written(store, keys, 5, "a")
    written(store, keys, 5, "b").checkpoint(store, tmp_path / "anchor")
    done(store, delete(records).where(records.c.node == "a"), delete(heads).where(heads.c.node == "a"))
    assert first_fault(store, keys, tmp_path / "anchor") == 'ledger of "a": row 1 is missing: checkpoint 1 signed 5 rows'


def test_a_chain_written_anew_with_the_right_key_is_missed_by_the_checkpoint(lite: Store, keys: Keys, tmp_path: Path) -> None:
    written(lite, keys).checkpoint(lite, tmp_path / "anchor")
    done(lite, delete(records), delete(heads))
    written(lite, keys, 12)
    assert "row 10 is not the one that checkpoint 1 signed" in first_fault(lite, keys, tmp_path / "anchor")


def test_a_count_that_was_taken_out_is_told(lite: Store, keys: Keys) -> None:
    written(lite, keys)
    done(lite, delete(heads))
    assert "count of rows was changed" in first_fault(lite, keys)


def test_a_last_row_that_the_database_does_not_name_is_told(lite: Store, keys: Keys) -> None:
    written(lite, keys)
    done(lite, update(heads).values(mac=b"\0" * 32))
    assert first_fault(lite, keys) == 'ledger of "a": row 10 is not the one that the database names as the last'


def test_each_chain_names_its_own_first_fault(lite: Store, keys: Keys) -> None:
    for node in ("a", "b", "c"):
        written(lite, keys, 5, node)
    done(lite, update(records).where(at(2)).values(body="{}"), delete(records).where(at(4, "c")))
    assert [(f.chain, f.seq) for f in verify(lite, keys).faults] == [("a", 2), ("c", 4)]


def test_another_key_verifies_nothing(lite: Store, keys: Keys) -> None:
    written(lite, keys)
    assert "row 1 was changed" in first_fault(lite, replace(keys, ledger=b"\1" * 32))


def test_a_record_is_there_with_its_transaction_or_not_at_all(store: Store, keys: Keys) -> None:
    ledger = written(store, keys, 3)
    with pytest.raises(RuntimeError), store.write() as tx:
        ledger.append(tx, "decision", {})
        raise RuntimeError("before the end")
    with store.write() as tx:
        assert ledger.append(tx, "decision", {}) == 4
    assert verify(store, keys).rows == 4


def test_a_ledger_that_cannot_be_written_is_down(sqlite_url: str, keys: Keys) -> None:
    store = Store(sqlite_url)
    store.create()
    done(store, text("CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"))
    with pytest.raises(GuardDown, match="full"), store.write() as tx:
        Ledger(keys, "a").append(tx, "decision", {})


def test_what_is_no_number_is_not_written(lite: Store, keys: Keys) -> None:
    with pytest.raises(ValueError, match="JSON"), lite.write() as tx:
        Ledger(keys, "a").append(tx, "decision", {"score": float("nan")})


def test_writers_of_one_chain_at_once_lose_no_row(store: Store, keys: Keys) -> None:
    patient = Store(store.url, patience=20)

    def work() -> None:
        for _ in range(20):
            with patient.write() as tx:
                Ledger(keys, "a").append(tx, "decision", {})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    patient.close()
    checked = verify(store, keys)
    assert checked.holds and checked.rows == 80


def test_rows_written_while_it_is_read_are_no_fault(store: Store, keys: Keys) -> None:
    ledger = written(store, keys, 3)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with store.write() as tx:
                ledger.append(tx, "decision", {})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert all(verify(store, keys).holds for _ in range(5))
    finally:
        stop.set()
        thread.join()


Line = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda x: [x[0], x[2], x[1]], "line 2 does not follow"),
        (lambda x: x[1:], "line 1 does not follow"),
        (lambda x: [x[0], x[2]], "line 2 does not follow"),
        (lambda x: [x[0], x[1].replace(b'"number":2', b'"number":3'), x[2]], "line 2 was changed"),
        (lambda x: [x[0], b"[]", x[2]], "line 2 is no checkpoint"),
        (lambda x: [x[0], b'{"checkpoint":1,"signature":"zz"}', x[2]], "line 2 is no checkpoint"),
        (lambda x: [x[0], x[1][:50], x[2]], "line 3 does not follow"),
        (lambda x: x[:2], "row 13 tells of checkpoint 3, which is in no file"),
        (lambda x: [], "row 4 tells of checkpoint 1, which is in no file"),
    ],
)
def test_checkpoints_that_were_changed_are_told(lite: Store, keys: Keys, tmp_path: Path, change: Line, said: str) -> None:
    anchor = tmp_path / "anchor"
    for rows in (3, 3, 4):
        ledger = Ledger(keys, "a")
        for _ in range(rows):
            with lite.write() as tx:
                ledger.append(tx, "decision", {})
        ledger.checkpoint(lite, anchor)
    anchor.write_bytes(b"".join(line + b"\n" for line in change(anchor.read_bytes().splitlines())))
    assert said in first_fault(lite, keys, anchor)


def test_a_checkpoint_of_another_key_is_told(lite: Store, keys: Keys, tmp_path: Path) -> None:
    other = replace(keys, signing=Ed25519PrivateKey.generate())
    written(lite, other).checkpoint(lite, tmp_path / "anchor")
    assert "is signed with the key" in first_fault(lite, keys, tmp_path / "anchor")


def test_a_checkpoint_refuses_to_sign_what_is_no_longer_there(lite: Store, keys: Keys, tmp_path: Path) -> None:
    ledger = written(lite, keys)
    ledger.checkpoint(lite, tmp_path / "anchor")
    cut(lite, 8)
    with pytest.raises(BadLedger, match='"a": row 9 is missing: checkpoint 1 signed 10 rows, 8 are left'):
        ledger.checkpoint(lite, tmp_path / "anchor")
    done(lite, delete(records), delete(heads))
    written(lite, keys, 12)
    with pytest.raises(BadLedger, match="row 10 is not the one that checkpoint 1 signed"):
        ledger.checkpoint(lite, tmp_path / "anchor")


def test_a_line_that_a_crash_cut_short_is_left_behind(lite: Store, keys: Keys, tmp_path: Path) -> None:
    ledger, anchor = written(lite, keys), tmp_path / "anchor"
    ledger.checkpoint(lite, anchor)
    with anchor.open("ab") as file:
        file.write(b'{"checkpoint":{"at":17')
    made = ledger.checkpoint(lite, anchor)
    assert made and made.number == 2 and verify(lite, keys, [anchor]).holds


def test_only_a_checkpoint_that_is_due_is_signed(lite: Store, keys: Keys, tmp_path: Path) -> None:
    ledger, anchor = written(lite, keys), tmp_path / "deep" / "anchor"
    assert ledger.checkpoint(lite, anchor, every=60)
    assert ledger.checkpoint(lite, anchor, every=60) is None
    assert len(anchor.read_text().splitlines()) == 1


def test_checkpoints_of_several_processes_at_once_follow_each_other(store: Store, keys: Keys, tmp_path: Path) -> None:
    written(store, keys)
    patient = Store(store.url, patience=20)
    threads = [threading.Thread(target=Ledger(keys, n).checkpoint, args=(patient, tmp_path / "anchor")) for n in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    patient.close()
    checked = verify(store, keys, [tmp_path / "anchor"])
    assert checked.holds and checked.checkpoints == 6


def test_a_file_of_checkpoints_that_is_not_there_is_told(lite: Store, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(BadLedger, match="cannot be read"):
        verify(lite, keys, [tmp_path / "none"])
    with pytest.raises(GuardDown, match="cannot be written"):
        Ledger(keys, "a").checkpoint(lite, tmp_path)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8)
)
def test_the_canonical_form_is_read_back_and_is_one_line_of_ascii(value: object) -> None:
    told = canonical(value)
    assert json.loads(told) == value and told.isascii() and "\n" not in told and canonical(json.loads(told)) == told
