"""Who asks, as far as the database must know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """What an asker may see and write. ``chat.access`` fills it in; every store function that reads or writes
    for somebody takes one and puts ``VISIBLE_THREAD`` or ``VISIBLE_CHAT`` into its SQL.
    """

    user_id: int
    all_usage: bool = False  # may read what the turns of others have used


def visible_thread(user: str) -> str:
    """SQL condition on chat_threads: whether the user that the SQL ``user`` names may see the thread."""
    return f"chat_threads.owner_id = {user} AND chat_threads.deleted_at IS NULL"


def visible_chat(user: str) -> str:
    """The same on copilot_chats."""
    return f"copilot_chats.user_id = {user}"


# The usual ones; they want the parameter ``scope_user``.
VISIBLE_THREAD = visible_thread("%(scope_user)s")
VISIBLE_CHAT = visible_chat("%(scope_user)s")
