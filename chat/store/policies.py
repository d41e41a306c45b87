"""The access policy of the host project, as the admin and the system checks ask for it."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models.expressions import RawSQL

from chat.store.scope import policy
from chat.store.sql import DatabaseError, key_type, row, rows, undone_on_error


def administered_threads(user: AbstractBaseUser | AnonymousUser) -> RawSQL | None:
    """The ids of the threads that the access policy lets a member of the staff find in the admin; None for all."""
    condition = policy().may_administer("asker.id")
    if condition == "true":
        return None
    kind = key_type()
    asker = f"(SELECT %s::{kind} AS id) asker"
    return RawSQL(f"SELECT chat_threads.id FROM chat_threads CROSS JOIN {asker} WHERE {condition}", (user.pk,))  # noqa: S611 - the policy's


def policy_problems(*, ask: bool) -> list[str]:
    """What is wrong with the access policy; with ``ask`` PostgreSQL is asked whether it understands the conditions,
    where the tables are there.
    """
    try:
        made = policy()
        conditions = {name: getattr(made, name)("asker.id") for name in ("may_see", "may_write", "may_administer")}
        if not callable(getattr(made, "scope", None)):
            return ["it has no method scope."]
    except Exception as problem:  # whatever a host's module raises when it is imported
        return [f"{type(problem).__name__}: {problem}"]
    found = [
        f"{name} gives {type(given).__name__}, not SQL."
        for name, given in conditions.items()
        if not isinstance(given, str)
    ]
    if not found and ask and row("SELECT to_regclass('chat_threads') AS made")["made"]:  # type: ignore[index]
        kind = key_type()
        for name, condition in conditions.items():
            try:
                with undone_on_error():
                    rows(
                        f"EXPLAIN SELECT FROM chat_threads, (SELECT %(user)s::{kind} AS id) asker WHERE {condition}",
                        user=None,
                    )
            except (DatabaseError, ValueError) as problem:
                found.append(f"{name}: {problem}")
    return found
