"""Whose threads are whose: what a host changes to share threads inside a team.

``CHAT_ACCESS_POLICY`` names a class like ``OwnerOnly``. Its conditions become part of every statement that reads or
writes threads, messages, turns and streams for somebody, so nothing is loaded to be refused afterwards, and a change
in the host's own tables (a group left, a team changed) holds from the next statement on: open streams and sockets are
looked at again every ``CHAT_ACCESS_CHECK_SECONDS``. docs/access.md has a worked example.
"""

from __future__ import annotations

from typing import Any

from chat.store.scope import Scope


class OwnerOnly:
    """The default: a thread is its owner's.

    Each ``may_…`` gives a condition in PostgreSQL's SQL on a row of ``chat_threads`` (by that name, no alias); ``user``
    is SQL for the asker's primary key and may stand in it any number of times. A per cent sign is written twice. Asked
    for once a process: nothing in it may depend on the request. A thread that was deleted is nobody's, whatever the
    policy says; deleting, archiving, sharing and changing the metadata of one stay its owner's.
    """

    def scope(self, user: Any) -> Scope:
        """The scope of an authenticated user. ``all_usage``: may read what the turns of everybody have used."""
        return Scope(user_id=user.pk, all_usage=bool(getattr(user, "is_superuser", False)))

    def may_see(self, user: str) -> str:
        """Who reads the thread: its messages, turns, streams and sockets."""
        return f"chat_threads.owner_id = {user}"

    def may_write(self, user: str) -> str:
        """Which of those who see it also send, stop, edit and rename."""
        return "true"

    def may_administer(self, user: str) -> str:
        """Which threads a member of the staff finds in the admin, deleted ones included; Django's permissions say
        what they may do there.
        """
        return "true"
