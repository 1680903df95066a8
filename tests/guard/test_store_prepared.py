"""Prepared statements: what the driver answers is what SQLAlchemy would have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from vauban.errors import GuardDown
from vauban.guard.storage import Prepared, Store
from vauban.guard.storage.store import meta

things = Table(
    "things",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(100)),
    Column("at", Float),
    Column("yes", Boolean),
    Column("held", LargeBinary),
    Column("more", JSON),
)
INSERT, ALL = Prepared(insert(things)), Prepared(select(things).order_by(things.c.id))
ROWS = st.fixed_dictionaries({
    "name": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    "at": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "yes": st.none() | st.booleans(),
    "held": st.none() | st.binary(max_size=20),
    "more": st.none() | st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(-9, 9), max_size=2), max_size=2),
})  # fmt: skip


@pytest.fixture(autouse=True)
def _tables(store: Store) -> None:
    with store.write() as tx:
        things.drop(tx.connection, checkfirst=True)
        things.create(tx.connection)


@given(rows=st.lists(ROWS, min_size=1, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_back_as_they_went_in_and_as_sqlalchemy_has_them(store: Store, rows: list[dict[str, Any]]) -> None:
    told = [{"id": i, **row} for i, row in enumerate(rows)]
    with store.write() as tx:
        tx.run(delete(things))
        tx.run(INSERT, told[0])
        if told[1:]:
            tx.run(INSERT, told[1:])
        found = tx.run(ALL, {}).all()
        known = tx.run(select(things).order_by(things.c.id)).all()
    assert [row._asdict() for row in found] == told == [dict(row._mapping) for row in known]
    assert [type(v) for row in found for v in row] == [type(v) for row in known for v in row]


def test_one_row_of_several_is_told_and_the_others_do_not_hold_the_transaction_up(store: Store) -> None:
    some = Prepared(update(things).where(things.c.id >= bindparam("least")).values(yes=True).returning(things.c.id, things.c.yes))
    with store.write() as tx:
        tx.run(insert(things), [{"id": i, "yes": False} for i in range(5)])
        first = tx.run(some, {"least": 2}).first()
        assert first.yes is True and first.id >= 2
        assert tx.run(some, {"least": 9}).first() is None and tx.run(some, {"least": 9}).scalar() is None
        assert tx.run(some, {"least": 4}).scalar() == 4
        assert tx.run(Prepared(update(things).where(things.c.id >= bindparam("least")).values(name="last")), {"least": 3}).rowcount == 2
        with pytest.raises(LookupError, match="2 rows instead of one"):
            tx.run(some, {"least": 3}).one()
    with store.read() as tx:
        assert [row.yes for row in tx.run(ALL, {})] == [False, False, True, True, True]


def test_values_that_stand_in_the_statement_need_not_be_given_and_those_that_do_not_must(store: Store) -> None:
    of = Prepared(select(things.c.name).where(things.c.yes == True, things.c.id > bindparam("after")).limit(1))  # noqa: E712
    with store.write() as tx:
        tx.run(insert(things), [{"id": 1, "name": "one", "yes": True}, {"id": 2, "name": "two", "yes": True}])
        assert tx.run(of, {"after": 0}).one().name == "one"
        assert tx.run(of, {"after": 1}).one().name == "two"
        for wrong in ({}, {"before": 1}, {"after": 1, "before": 1}):
            with pytest.raises(KeyError, match="after"):
                tx.run(of, wrong)


def test_a_list_is_refused_before_anything_runs(store: Store) -> None:
    with pytest.raises(TypeError, match="a list cannot"), store.read() as tx:
        tx.run(Prepared(select(things).where(things.c.id.in_(bindparam("ids", expanding=True)))), {"ids": [1]})


def test_what_the_driver_cannot_do_is_the_one_error_and_is_undone(store: Store) -> None:
    new = Prepared(insert(meta))
    with pytest.raises(GuardDown, match=r"the database: (?i:.*(unique|duplicate))"), store.write() as tx:
        tx.run(new, {"name": "twice", "value": ""})
        tx.run(new, {"name": "twice", "value": ""})
    with store.write() as tx:
        assert tx.run(select(meta.c.name)).scalars().all() == ["schema"]
        tx.run(new, {"name": "twice", "value": ""})
