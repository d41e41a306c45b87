"""How this package talks to PostgreSQL: one statement at a time, on Django's connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
from django.db import Error as DatabaseError
from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.datetime import TimestamptzLoader

from chat import conf
from chat.models import Turn
from chat.store.scope import with_policy

__all__ = [
    "ATTEMPTS",
    "PATIENCE",
    "UNAVAILABLE",
    "DatabaseError",
    "IntegrityError",
    "ProgrammingError",
    "connection",
    "decoded",
    "drop_broken_connections",
    "encoded",
    "in_transactions_of_its_own",
    "key_type",
    "listen_parameters",
    "one_transaction",
    "refused_by",
    "row",
    "rows",
    "undone_on_error",
    "violated",
]

Row = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

# How often a loop looks again for a row that a rival made and may have deleted since, before it says so.
ATTEMPTS = 10

# In a statement that takes a conversation's lock: a process that is paused between it and the next would keep the lock,
# and whoever recovers its turns would wait. PostgreSQL ends such a session after five seconds.
PATIENCE = "set_config('idle_in_transaction_session_timeout', '5s', true)"

# SQLSTATEs of sessions that are of no use any more, for which psycopg has an InternalError: one that was idle in its
# transaction for too long, and one that may not write, as after a failover, which leaves an old primary read-only.
USELESS = ("25P03", "25006")

# The classes of SQLSTATE whose errors quote names of the schema only, in the first of their lines: violated
# constraints, and statements that do not fit the schema.
NAMING = ("23", "42")

# What a statement raises when the database is away for a moment; the same statement may be tried again.
UNAVAILABLE = (OperationalError, InterfaceError)


def connection() -> BaseDatabaseWrapper:
    """The connection that chat tables are written through; reads that decide a write use it too, never a replica."""
    return connections[router.db_for_write(Turn)]


def listen_parameters() -> dict[str, Any]:
    """How to connect for LISTEN: to CHAT_LISTEN_URL where there is one (a session of its own, past a PgBouncer),
    else like everybody.
    """
    if url := conf.get("LISTEN_URL"):
        parameters = dict(conninfo_to_dict(url))
    else:
        parameters = connection().get_connection_params()
    return {
        **conf.VANISHED,
        **{name: value for name, value in parameters.items() if name not in ("context", "cursor_factory")},
    }


def release_connection() -> None:
    """This thread asks no more: what it keeps of the pool, nobody else has."""
    connection().close()


def drop_broken_connections() -> None:
    """After PostgreSQL went away: replace the pool's dead connections all at once. Left to itself the pool finds them
    one by one, when they are asked for, with a pause that doubles after each (psycopg_pool 3.3): ten seconds for four.
    """
    database = connection()
    database.close()
    pool = getattr(database, "pool", None)  # none without OPTIONS["pool"]
    if pool is not None and not pool.closed:
        pool.check()


def in_transactions_of_its_own(view: View) -> View:
    """A view that ATOMIC_REQUESTS leaves alone: its store functions are a transaction each, and what they have written
    is seen by the runs, which have connections of their own, before the request is answered.
    """
    return transaction.non_atomic_requests(using=connection().alias)(view)


def key_type() -> str:
    """The type of users' primary keys, for SQL: a host's users may have other keys than numbers."""
    return str(Turn._meta.get_field("user").db_type(connection()))


def rows(statement: str, **params: Any) -> list[Row]:
    """Run one statement and return its rows by column name. jsonb columns come as text: see ``decoded``.

    What it raises says no value: it names what of the schema was hurt, or the kind of error.
    """
    with _useless_is_unavailable(), connection().cursor() as cursor:
        # Django's own loader of times is Python, and takes longer than all else that is done with a row.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        try:
            cursor.execute(with_policy(statement), params)
        except DatabaseError as problem:
            _keep_to_names(problem)
            raise
        columns = cursor.description  # put together anew whenever it is asked for
        if columns is None:
            return []
        names = [column.name for column in columns]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def row(statement: str, **params: Any) -> Row | None:
    """The first row of a statement, or None."""
    found = rows(statement, **params)
    return found[0] if found else None


def encoded(value: Any) -> str:
    """A JSON value as the text that a ``%(name)s::jsonb`` parameter takes."""
    return orjson.dumps(value).decode()


def decoded(text: str) -> Any:
    """The value of a jsonb column."""
    return orjson.loads(text)


def violated(problem: BaseException) -> str:
    """The name of the constraint or unique index that a statement ran into; empty where it was something else."""
    diagnosis = getattr(problem.__cause__, "diag", None)
    return (diagnosis and diagnosis.constraint_name) or ""


def refused_by(problem: BaseException) -> str:
    """The table whose constraint a statement ran into; empty where it was something else."""
    diagnosis = getattr(problem.__cause__, "diag", None)
    return (diagnosis and diagnosis.table_name) or ""


def _keep_to_names(problem: DatabaseError) -> None:
    """PostgreSQL quotes rows, parameters and the statement when it says what is wrong, and whoever logs an exception
    (we, asyncio, a host's error tracker) logs what it says.
    """
    cause = problem.__cause__
    diagnosis = getattr(cause, "diag", None)
    if cause is not None and diagnosis is not None and diagnosis.sqlstate is not None:  # else psycopg's own words
        told = diagnosis.message_primary if diagnosis.sqlstate[:2] in NAMING else type(cause).__name__
        problem.args = cause.args = (told,)


@contextmanager
def one_transaction() -> Iterator[None]:
    """A transaction, or a savepoint inside somebody's.

    A process that slept in it may find that PostgreSQL has ended its session (``idle_in_transaction_session_timeout``).
    """
    with _useless_is_unavailable(), transaction.atomic(using=connection().alias):
        yield


@contextmanager
def _useless_is_unavailable() -> Iterator[None]:
    """A session of no use is one of UNAVAILABLE, like any other connection that is gone, and is ended: the pool would
    hand it out again, and the next one may be at the server that takes writes now (``target_session_attrs``).
    """
    try:
        yield
    except InternalError as problem:
        if getattr(problem.__cause__, "sqlstate", None) not in USELESS:
            raise
        database = connection()
        if database.connection is not None:
            database.connection.close()
        database.close()
        raise OperationalError(*problem.args) from problem


@contextmanager
def undone_on_error() -> Iterator[None]:
    """Inside somebody's transaction: a savepoint, so that a failing statement does not spoil it. Outside: nothing,
    since a single statement is a transaction of its own and two round trips are saved.
    """
    database = connection()
    if database.in_atomic_block:
        with transaction.atomic(using=database.alias):
            yield
    else:
        yield
