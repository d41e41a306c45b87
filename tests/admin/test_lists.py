from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat.admin.read_only import BoundedPaginator
from chat.models import (
    ApiToken,
    Attachment,
    CopilotChat,
    Feedback,
    Message,
    Share,
    Thread,
    TokenUsage,
    ToolApproval,
    Turn,
)
from tests.admin.conftest import MODELS
from tests.admin.pages import (
    answered,
    attachment,
    copilot_chat,
    feedback,
    html,
    list_url,
    page_url,
    share,
    token,
    words,
)
from tests.factories import ApprovalFactory, MessageFactory, ThreadFactory, TurnFactory, UserFactory

pytestmark = pytest.mark.django_db


def rows_of(model: type[Model], number: int) -> None:
    makers = {
        ApiToken: token,
        Attachment: attachment,
        CopilotChat: copilot_chat,
        Feedback: feedback,
        Share: share,
        ToolApproval: ApprovalFactory.create,
    }
    make: Callable[[], object] = makers.get(model, answered)
    for _ in range(number):
        make()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_list_takes_as_many_queries_for_twenty_rows_as_for_two(operator: Client, model: type[Model]) -> None:
    taken = []
    for number in (2, 18):
        rows_of(model, number)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            html(operator, list_url(model))
        taken.append(len(queries))
    assert taken[0] == taken[1]
    assert taken[0] <= 5  # session, user, count, rows; and one for what the site itself asks


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_page_takes_as_many_queries_in_a_full_table(operator: Client, model: type[Model]) -> None:
    taken = []
    for number in (1, 10):
        rows_of(model, number)
        row = model._default_manager.order_by("pk").last()
        assert row is not None
        html(operator, page_url(row))  # what the process remembers from now on (content types) is not counted
        with CaptureQueriesContext(connection) as queries:
            html(operator, page_url(row))
        taken.append(len(queries))
    assert taken[0] == taken[1]


def test_no_list_loads_histories_contents_or_digests(operator: Client) -> None:
    for model in MODELS:
        rows_of(model, 1)
    TurnFactory.create(thread=None, copilot_chat=copilot_chat(messages=[{"id": "1"}]), user=None)
    with CaptureQueriesContext(connection) as queries:
        for model in MODELS:
            html(operator, list_url(model))
    selected = [query["sql"].partition(" FROM ")[0] for query in queries]
    for column in (
        '"copilot_chats"."messages"',
        '"chat_messages"."parts"',
        '"chat_turns"."request"',
        '"token_usage"."call_details"',
        '"chat_api_tokens"."digest"',
        '"chat_shares"."snapshot"',
    ):
        # As a column; inside a function, only its result is loaded.
        assert not any(f", {column}" in sql for sql in selected), column


def test_the_thread_list_tells_messages_live_turns_and_what_was_put_away(operator: Client) -> None:
    live = answered(status="streaming").thread
    assert live is not None
    MessageFactory.create(thread=live, is_current=False)
    MessageFactory.create(thread=live, deleted_at=timezone.now())
    Thread.objects.filter(pk=live.pk).update(title="Live one")
    ThreadFactory.create(title="Gone one", deleted_at=timezone.now())
    ThreadFactory.create(title="Old one", archived_at=timezone.now())
    ThreadFactory.create(title="")

    told = words(html(operator, list_url(Thread)))
    assert f"Live one {live.owner.get_username()} 2 Streaming" in told
    assert "Gone one Deleted" in told
    assert "Old one Archived" in told
    assert "Untitled" in told


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "active"}, {"plain", "busy", "waiting"}),
        ({"state": "archived"}, {"archived"}),
        ({"state": "deleted"}, {"deleted"}),
        ({"busy": "streaming"}, {"busy"}),
        ({"busy": "awaiting_approval"}, {"waiting"}),
        ({"busy": "nonsense", "state": "nonsense"}, {"plain", "busy", "waiting", "archived", "deleted"}),
    ],
)
def test_threads_are_filtered_by_state_and_turn(operator: Client, query: dict[str, str], found: set[str]) -> None:
    ThreadFactory.create(title="plain")
    TurnFactory.create(thread__title="busy", status="streaming")
    TurnFactory.create(thread__title="waiting", status="awaiting_approval")
    ThreadFactory.create(title="archived", archived_at=timezone.now())
    ThreadFactory.create(title="deleted", deleted_at=timezone.now())
    assert titles(operator, **query) == found


def test_a_thread_is_found_by_title_owner_and_every_id(operator: Client) -> None:
    owner = UserFactory.create(username="maria.lopez")
    thread = ThreadFactory.create(owner=owner, title="Trip to Lisbon", client_id="kJh3d9")
    turn = TurnFactory.create(thread=thread, turn_id="3f0a4f34-9f8e-4a0e-8f66-0e3b7d0f4a11")
    ThreadFactory.create(title="Other", client_id="kJh3d9-not-this")

    for term in ("lisbon", "trip maria", "lopez", "kJh3d9", f" {thread.pk} ", thread.pk.hex, turn.turn_id, turn.pk):
        assert titles(operator, q=term) == {"Trip to Lisbon"}, term
    assert titles(operator, q=uuid.uuid4()) == set()
    assert titles(operator, q="9" * 30) == set()
    assert titles(operator, q="²") == set()


@pytest.mark.parametrize(
    "term", ["99999999999999999999", "9223372036854775808", "\u00b2", "%", "'; --", "\u202e", "a" * 5000]
)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_search_breaks_a_list(operator: Client, model: type[Model], term: str) -> None:
    html(operator, list_url(model), q=term)


def test_turns_messages_and_usage_are_found_by_their_ids(operator: Client) -> None:
    answered(1)
    turn = answered(2, turn_id="the-turn", thread=ThreadFactory.create(title="Lisbon"))
    message, usage = Message.objects.get(turn_id="the-turn", role="user"), TokenUsage.objects.get(turn=turn)
    Message.objects.filter(pk=message.pk).update(client_id="from-the-client")

    for term in ("the-turn", turn.pk, turn.thread_id, "lisbon"):
        assert pks(operator, Turn, q=term) == {turn.pk}, term
        assert pks(operator, TokenUsage, q=term) == {usage.pk}, term
    for term in ("the-turn", turn.thread_id):
        assert message.pk in pks(operator, Message, q=term)
    for term in ("from-the-client", message.pk):
        assert pks(operator, Message, q=term) == {message.pk}


def test_the_turn_list_tells_what_an_operator_asks_at_night(operator: Client) -> None:
    now = timezone.now()
    lost = {"started_at": now - timedelta(minutes=9), "heartbeat_at": now - timedelta(minutes=5)}
    TurnFactory.create(status="streaming", turn_id="lost", **lost)
    TurnFactory.create(status="streaming", turn_id="alive", started_at=now, heartbeat_at=now)
    TurnFactory.create(
        status="failed",
        error_code="model_error",
        error_text='Said "no"',
        started_at=now - timedelta(seconds=3),
        finished_at=now,
    )
    chat = copilot_chat()
    TurnFactory.create(thread=None, copilot_chat=chat, user=chat.user, status="completed", model="large")

    page = html(operator, list_url(Turn))
    told = words(page)
    assert "Streaming heartbeat 5 min 0 s ago" in told
    assert "9 min 0 s" in told
    assert "Failed model_error" in told
    assert "3.00 s" in told
    assert "Old product" in told
    assert 'title="Said &quot;no&quot;"' in page
    assert pks(operator, Turn, lease="expired") == {Turn.objects.get(turn_id="lost").pk}


def test_the_usage_list_tells_tokens_dollars_and_where_they_come_from(operator: Client) -> None:
    turn = answered()
    TokenUsage.objects.update(
        prompt_tokens=120_034, cost_micros=1_234_500_000, source="estimated", model_breakdown={"openai:big": {}}
    )
    told = words(html(operator, list_url(TokenUsage)))
    assert "openai:big 120,034 5 $1,234.50 Estimated" in told
    # It outlives what it paid for.
    turn.thread.delete()  # type: ignore[union-attr]
    TokenUsage.objects.update(source="missing", model_breakdown=["odd"])
    assert "Missing" in words(html(operator, list_url(TokenUsage)))


def test_the_message_list_shows_sizes_and_nothing_that_was_said_however_odd_the_parts(operator: Client) -> None:
    for parts in (
        [{"type": "step-start"}, {"type": "text", "text": "The answer " + "x" * 5000}],
        [{"type": "text", "text": 7}, "odd"],
        {"not": "a list"},
        "text",
        [],
    ):
        MessageFactory.create(role="assistant", parts=parts)
    told = words(html(operator, list_url(Message)))
    assert told.count("bytes") == 5
    assert "The answer" not in told


def test_a_list_of_very_many_rows_is_cut_and_says_so(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedPaginator, "MOST", 3)
    ThreadFactory.create_batch(3)
    assert "There are more" not in html(operator, list_url(Thread))
    ThreadFactory.create_batch(2)
    page = html(operator, list_url(Thread))
    assert "only the first 3" in page
    with CaptureQueriesContext(connection) as queries:
        html(operator, list_url(Thread))
    counts = [query["sql"] for query in queries if query["sql"].startswith("SELECT COUNT(*)")]
    assert counts
    assert all("LIMIT 4" in sql for sql in counts)
    assert not any("chat_messages" in sql for sql in counts)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_filter_and_every_order_that_a_list_offers_works(operator: Client, model: type[Model]) -> None:
    rows_of(model, 3)
    page = html(operator, list_url(model))
    offered = {link.replace("&amp;", "&") for link in re.findall(r'href="(\?[^"]*)"', page)}
    assert len(offered) > 5
    for link in offered:
        assert operator.get(list_url(model) + link).status_code == 200, link


def titles(operator: Client, **query: object) -> set[str]:
    return set(Thread.objects.filter(pk__in=pks(operator, Thread, **query)).values_list("title", flat=True))


def pks(operator: Client, model: type[Model], **query: object) -> set[object]:
    answer = operator.get(list_url(model), query)
    assert answer.status_code == 200
    return {row.pk for row in answer.context["cl"].result_list}


def test_messages_and_threads_are_found_by_the_words_of_a_message(admin_client: Client) -> None:
    found = MessageFactory.create(parts=[{"type": "text", "text": "Down by the old harbour"}])
    MessageFactory.create(parts=[{"type": "text", "text": "Up the hill"}])
    for page, pk in (("message", found.pk), ("thread", found.thread_id)):
        content = admin_client.get(f"/admin/chat/{page}/?q=old+harbour").content.decode()
        assert f"/admin/chat/{page}/{pk}/change/" in content
        assert content.count("field-number" if page == "message" else "field-name") == 1
