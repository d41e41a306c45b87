from __future__ import annotations

import time

import psycopg
import pytest
from django.contrib.auth.models import AbstractUser

from chat.store.health import unready
from chat.store.sql import (
    UNAVAILABLE,
    DatabaseError,
    IntegrityError,
    ProgrammingError,
    connection,
    drop_broken_connections,
    listen_parameters,
    one_transaction,
    refused_by,
    row,
    rows,
    undone_on_error,
    violated,
)


@pytest.mark.django_db(transaction=True)
def test_who_has_slept_too_long_in_a_transaction_is_told_that_the_database_was_away() -> None:
    def sleep() -> None:
        with one_transaction():
            rows("SET LOCAL idle_in_transaction_session_timeout = '30ms'")
            time.sleep(0.3)

    with pytest.raises(UNAVAILABLE):
        sleep()
    drop_broken_connections()
    assert rows("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.django_db
def test_what_a_statement_raises_names_what_of_the_schema_was_hurt_and_no_value(user: AbstractUser) -> None:
    twice = "INSERT INTO chat_threads (owner_id, client_id) SELECT %(user)s, %(name)s FROM generate_series(1, 2)"
    for kind, statement, told in (
        (IntegrityError, twice, "chat_threads_owner_client_id_key"),
        (ProgrammingError, "SELECT no_such_column, %(name)s, %(user)s", "no_such_column"),
        (ProgrammingError, "SELECT %(name)s, %(user)s, %(left_out)s", "left_out"),  # psycopg's own words
        (DatabaseError, "SELECT %(name)s::int, %(user)s", "InvalidTextRepresentation"),
    ):
        with pytest.raises(kind) as problem, undone_on_error():
            rows(statement, user=user.pk, name="Persimmon9917")
        assert told in str(problem.value)
        assert "Persimmon9917" not in f"{problem.value} {problem.value.__cause__}"
        of_table = ("chat_threads_owner_client_id_key", "chat_threads") if kind is IntegrityError else ("", "")
        assert (violated(problem.value), refused_by(problem.value)) == of_table
    assert row("SELECT * FROM generate_series(1, 2) AS n") == {"n": 1}, "the transaction is still good"


@pytest.mark.django_db(transaction=True)
def test_connections_that_died_in_the_pool_are_replaced_at_once() -> None:
    pool = connection().pool  # type: ignore[attr-defined]
    pid = rows("SELECT pg_backend_pid() AS pid")[0]["pid"]
    connection().close()
    with psycopg.connect(**listen_parameters(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    pool.pop_stats()
    drop_broken_connections()
    assert pool.get_stats()["connections_lost"] >= 1
    connection().close_pool()  # type: ignore[attr-defined]
    drop_broken_connections()
    assert rows("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_answer_is_told_to_who_asks_whether_all_is_well() -> None:
    with pytest.raises(UNAVAILABLE):
        rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert unready() == "the database does not answer"
    drop_broken_connections()
    assert unready() is None
