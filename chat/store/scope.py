"""Who asks, as far as the database must know, and the conditions that hold every statement to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from django.utils.module_loading import import_string

from chat import conf


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks. ``chat.access`` fills it in; every store function that reads or writes for somebody takes one and puts
    ``VISIBLE_THREAD``, ``WRITABLE_THREAD``, ``OWNED_THREAD`` or ``VISIBLE_CHAT`` into its SQL.
    """

    user_id: int
    all_usage: bool = False  # may read what the turns of others have used


class Policy(Protocol):
    """What a host decides (``CHAT_ACCESS_POLICY``): see ``chat.access.policy``. Each condition is SQL about
    ``chat_threads``, for the user whose primary key the SQL ``user`` gives.
    """

    def scope(self, user: Any) -> Scope: ...

    def may_see(self, user: str) -> str: ...

    def may_write(self, user: str) -> str: ...

    def may_administer(self, user: str) -> str: ...


def policy() -> Policy:
    """The host's policy. Raises ImportError."""
    return _made(conf.get("ACCESS_POLICY"))


@lru_cache(maxsize=8)
def _made(path: str) -> Policy:
    made: Policy = import_string(path)()
    return made


# Conditions on chat_threads for the asker; they want the parameter ``scope_user``. The policy's own SQL takes their
# place when a statement is sent (``sql.rows``): statements are constants, and the policy is a setting.
VISIBLE_THREAD = "/*visible thread*/"
WRITABLE_THREAD = "/*writable thread*/"
OWNED_THREAD = "(chat_threads.owner_id = %(scope_user)s AND chat_threads.deleted_at IS NULL)"
USER = "%(scope_user)s"


def visible_thread(user: str) -> str:
    """SQL condition on chat_threads: whether the user that the SQL ``user`` names may see the thread."""
    return f"(({policy().may_see(user)}) AND chat_threads.deleted_at IS NULL)"


def with_policy(statement: str) -> str:
    """A statement with the policy's conditions in their places."""
    return _with_policy(statement, conf.get("ACCESS_POLICY")) if "ble thread*/" in statement else statement


@lru_cache(maxsize=2048)
def _with_policy(statement: str, path: str) -> str:
    visible = visible_thread(USER)
    # Nobody writes what they do not see, whatever the policy says; and where it says NULL, that is no.
    writable = f"(({visible} AND ({_made(path).may_write(USER)})) IS TRUE)"
    return statement.replace(VISIBLE_THREAD, visible).replace(WRITABLE_THREAD, writable)


def visible_chat(user: str) -> str:
    """SQL condition on copilot_chats, which are their owner's alone."""
    return f"copilot_chats.user_id = {user}"


VISIBLE_CHAT = visible_chat(USER)
