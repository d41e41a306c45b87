"""Stored parts come back as they went in: through orjson, PostgreSQL's jsonb and back."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.errors import InvalidInput
from chat.models import TurnStatus
from chat.protocol.chunks import Chunk
from chat.protocol.fold import fold
from chat.protocol.sanitize import check
from chat.store.begin import begin_turn
from chat.store.finalize import finalize_assistant_turn
from chat.store.message_pages import read_messages
from chat.store.messages import append_message
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.usage import UsageFigures
from tests.factories import UserFactory
from tests.unit.strategies import PLAIN_JSON, canonical_logs

pytestmark = pytest.mark.django_db
many = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def asker(db: None) -> Scope:
    return Scope(user_id=UserFactory.create().pk)


def stored(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


@many
@given(log=canonical_logs())
def test_the_fold_of_any_log_comes_back_equal(asker: Scope, log: list[Chunk]) -> None:
    name = str(uuid.uuid4())
    thread = open_thread(asker, name)
    turn = begin_turn(asker, thread, name, fingerprint="", request={}, user_message=None)
    parts = fold(log)
    assert finalize_assistant_turn(turn, status=TurnStatus.COMPLETED, parts=parts, metadata={}, usage=UsageFigures())
    (message,) = read_messages(asker, thread)
    assert stored(message.parts) == parts


def accepted(value: Any) -> bool:
    """Whether a client may send this value."""
    try:
        check(value, "value")
    except InvalidInput:
        return False
    return True


@many
@given(
    data=PLAIN_JSON.filter(accepted),
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_what_a_client_sent_comes_back_equal(asker: Scope, data: Any, text: str) -> None:
    parts = [{"type": "text", "text": text}, {"type": "data-note", "data": data}]
    thread = open_thread(asker, str(uuid.uuid4()))
    append_message(asker, thread, "user", parts)
    (message,) = read_messages(asker, thread)
    assert stored(message.parts) == parts
