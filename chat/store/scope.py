"""Who asks, as far as the database must know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """What an asker may see and write. ``chat.access`` fills it in; every store function that reads or writes
    for somebody takes one and puts ``VISIBLE_THREAD`` into its SQL.
    """

    user_id: int


# Condition on chat_threads; wants the parameter ``scope_user``.
VISIBLE_THREAD = "chat_threads.owner_id = %(scope_user)s AND chat_threads.deleted_at IS NULL"
