"""On what grounds somebody was let in, and whether they still hold: for streams, which outlive the request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from chat.access.scopes import scope_of
from chat.models import ApiToken
from chat.store.access import active_users, living_sessions, living_tokens, visible_conversations
from chat.store.scope import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """Who asks, and by which session or token. ``session_hash`` changes with the user's password."""

    scope: Scope
    session_key: str | None = None
    session_hash: str = ""
    token: int | None = None


def standing(readers: Sequence[tuple[Grant, UUID]]) -> list[bool]:
    """Whether each reader of a conversation may go on reading: session, token and user are good, it is theirs to see.
    A handful of statements however many they are.
    """
    grants = [grant for grant, _ in readers]
    sessions = living_sessions({grant.session_key for grant in grants if grant.session_key})
    tokens = living_tokens({grant.token for grant in grants if grant.token})
    users = active_users({grant.scope.user_id for grant in grants})
    hashes = {pk: _session_hash(user) for pk, user in users.items()}
    visible = visible_conversations((grant.scope, conversation) for grant, conversation in readers)

    def holds(grant: Grant) -> bool:
        if grant.session_key is not None:
            return grant.session_key in sessions and hashes.get(grant.scope.user_id) == grant.session_hash
        return grant.scope.user_id in users and (grant.token is None or grant.token in tokens)

    return [holds(grant) and (grant.scope, conversation) in visible for grant, conversation in readers]


def grant_of(request: Request) -> Grant:
    """The grounds on which a request was authenticated. Raises NotAuthenticated for nobody's."""
    scope = scope_of(request.user)
    if isinstance(request.successful_authenticator, SessionAuthentication):
        return Grant(scope, session_key=request.session.session_key, session_hash=_session_hash(request.user))
    return Grant(scope, token=request.auth.pk if isinstance(request.auth, ApiToken) else None)


def _session_hash(user: Any) -> str:
    # A user model of the host's own may know none.
    made = getattr(user, "get_session_auth_hash", None)
    return made() if made else ""
