"""What an operator does at night: turns that hang, links that must go, what people think, and how the mirror does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from chat.errors import NotFound
from chat.models import (
    Attachment,
    CopilotChat,
    Feedback,
    Message,
    ReconcileRun,
    Share,
    Thread,
    ToolApproval,
    TranscriptView,
    Turn,
)
from chat.store.scope import Scope
from chat.store.shares import create_share, read_share
from tests.admin.pages import answered, attachment, copilot_chat, feedback, html, list_url, page_url, said, share, words
from tests.factories import ApprovalFactory, MessageFactory, ThreadFactory, TurnFactory

pytestmark = pytest.mark.django_db


def act(browser: Client, action: str, *rows: Model) -> str:
    """Run an action of a list on rows; what the page says then."""
    chosen = [str(row.pk) for row in rows]
    page = browser.post(list_url(type(rows[0])), {"action": action, "_selected_action": chosen}, follow=True)
    return page.content.decode()


def streaming(name: str, heartbeat_age: float) -> Turn:
    now = timezone.now()
    return TurnFactory.create(
        status="streaming",
        turn_id=name,
        started_at=now - timedelta(minutes=9),
        heartbeat_at=now - timedelta(seconds=heartbeat_age),
    )


def test_a_turn_whose_process_is_gone_is_recovered_and_one_that_is_alive_is_not_touched(operator: Client) -> None:
    lost, alive = streaming("lost", 300), streaming("alive", 1)
    MessageFactory.create(thread=lost.thread, turn_id="lost", role="assistant", parts=[])
    before = Turn.objects.filter(pk=alive.pk).values().get()
    page = act(operator, "recover", lost, alive)
    assert "1 turn is recovered" in page
    assert "1 alive was left alone" in page
    lost.refresh_from_db()
    assert (lost.status, lost.epoch) == ("interrupted", 2)
    assert Turn.objects.filter(pk=alive.pk).values().get() == before
    assert LogEntry.objects.get().object_id == str(lost.pk)
    assert "0 turns are recovered" in act(operator, "recover", lost, alive)


def test_turns_that_are_stuck_are_listed_by_the_age_of_their_lease(operator: Client) -> None:
    for name, age in (("young", 40), ("old", 4000), ("alive", 1), ("middle", 400)):
        streaming(name, age)
    answer = operator.get(list_url(Turn), {"lease": "expired"})
    assert [turn.turn_id for turn in answer.context["cl"].result_list] == ["old", "middle", "young"]


def test_who_may_only_view_turns_recovers_none(staff: Callable[..., Client]) -> None:
    lost = streaming("lost", 300)
    assert "Recover the chosen" not in act(staff("view_turn"), "recover", lost)
    lost.refresh_from_db()
    assert lost.status == "streaming"
    act(staff("view_turn", "change_turn"), "recover", lost)
    lost.refresh_from_db()
    assert lost.status == "interrupted"


def test_a_link_that_is_revoked_shows_nothing_from_then_on(operator: Client, staff: Callable[..., Client]) -> None:
    thread = ThreadFactory.create(title="Plans")
    MessageFactory.create(thread=thread, parts=said("Buy them all"))
    secret, made = create_share(Scope(thread.owner.pk), thread.pk, 7)
    row = Share.objects.get(pk=made["id"])
    act(staff("view_share"), "revoke", row)
    assert read_share(secret)["title"] == "Plans"
    for url in (list_url(Share), page_url(row)):
        page = html(operator, url)
        assert "Valid" in page
        assert "Plans" in page
        assert row.digest[:12] not in page
        assert "Buy them all" not in page
    assert "1 link is revoked" in act(operator, "revoke", row)
    with pytest.raises(NotFound):
        read_share(secret)
    assert "Revoked" in words(html(operator, list_url(Share), state="revoked"))
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_links_are_told_apart_by_whether_they_are_good(operator: Client) -> None:
    past = timezone.now() - timedelta(days=1)
    rows = {
        "valid": share(),
        "expired": share(expires_at=past),
        "revoked": share(expires_at=past, revoked_at=past),
    }
    for state, row in rows.items():
        for query in ({"state": state}, {"q": row.thread_id}):
            answer = operator.get(list_url(Share), query)
            assert [one.pk for one in answer.context["cl"].result_list] == [row.pk]


def test_feedback_is_listed_with_its_comment_and_leads_to_the_answer(operator: Client) -> None:
    row = feedback(comment="It <b>lied</b> to me " + "x" * 500)
    feedback(comment="So did another")
    for term in (row.message_id, row.message.thread_id):
        assert [one.pk for one in operator.get(list_url(Feedback), {"q": term}).context["cl"].result_list] == [row.pk]
    page = html(operator, list_url(Feedback), q="lied")
    assert "Down It <b>lied</b> to me xx" in words(page)
    assert "x" * 200 not in page
    assert "What was said" not in page
    page = html(operator, page_url(row))
    assert "x" * 500 in page
    assert f"#message-{row.message_id}" in page
    assert "What was said" not in page


def test_files_are_listed_with_whose_and_how_big_they_are(operator: Client) -> None:
    row = attachment()
    attachment(thread=None, filename="draft.pdf")
    told = words(html(operator, list_url(Attachment)))
    assert f"map.png {row.owner.get_username()}" in told
    assert "2.0" in told
    assert "draft.pdf" in told
    assert "Not sent yet" in told


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (MessageFactory.create, "parts"),
        (ApprovalFactory.create, "input"),
        (share, "snapshot"),
        (share, "digest"),
        (copilot_chat, "messages"),
        (TurnFactory.create, "request"),
    ],
)
def test_no_list_can_be_asked_for_what_it_does_not_show(
    operator: Client, made: Callable[[], Model], field: str
) -> None:
    row = made()
    for lookup in (f"{field}__icontains", field):
        assert operator.get(list_url(type(row)), {lookup: "a"}).status_code == 400


@pytest.mark.parametrize("model", [Thread, Message])
def test_looking_for_words_is_noted_as_a_view_and_is_for_those_who_may_read(
    staff: Callable[..., Client], model: type[Model]
) -> None:
    message = MessageFactory.create(parts=said("Down by the old harbour"))
    kind = model._meta.model_name
    found = message if model is Message else message.thread
    reader = staff("view_thread", "view_message")
    assert page_url(found) in html(reader, list_url(model), q="harbour")
    view = TranscriptView.objects.get()
    assert (view.kind, view.seen) == ("search", kind)
    html(reader, list_url(model), q=str(found.pk))  # an id is no word
    assert TranscriptView.objects.count() == 1
    if model is Thread:
        assert page_url(found) not in html(staff("view_thread"), list_url(model), q="harbour")
        assert TranscriptView.objects.count() == 1


def test_a_call_and_its_input_are_content_and_the_log_of_views_tells_what_was_looked_for(operator: Client) -> None:
    call = ApprovalFactory.create(input={"city": "Lisbon"})
    assert "Lisbon" not in html(operator, list_url(ToolApproval))
    assert "Lisbon" in html(operator, page_url(call))
    html(operator, list_url(Message), q="harbour")
    told = words(html(operator, list_url(TranscriptView)))
    assert f"toolapproval {call.pk}" in told
    assert "search Words in the list of messages" in told


def test_the_list_of_copilot_chats_tells_how_the_mirror_does(operator: Client, settings: Any) -> None:
    assert "Never compared" in words(html(operator, list_url(CopilotChat)))
    ended = timezone.now() - timedelta(minutes=5)
    run = {"mode": "check", "phase": "dual", "scope": "all", "finished_at": ended}
    ReconcileRun.objects.create(is_clean=False, found={"missing": 5, "rejected": 2}, **run)
    copilot_chat(mirror_failures=2)
    told = words(html(operator, list_url(CopilotChat)))
    assert "Mirror, in phase dual: Drift: 5 missing when it was last compared in full, 5 min" in told
    assert "Writes to 1 chat have failed since." in told
    ReconcileRun.objects.create(is_clean=True, found={"rejected": 2}, **run)
    assert "No drift" in words(html(operator, list_url(CopilotChat)))
    settings.COPILOT_MESSAGES_PHASE = "jsonb"
    assert "no mirror" in words(html(operator, list_url(CopilotChat)))


def test_lists_tell_for_how_long_their_rows_are_kept(operator: Client, settings: Any) -> None:
    answered()
    assert "gone for good after 30 days, and all others are kept" in words(html(operator, list_url(Thread)))
    settings.CHAT_KEEP_DELETED_DAYS, settings.CHAT_KEEP_THREADS_DAYS = 0, 1
    told = words(html(operator, list_url(Thread)))
    assert "only when their owner says so, and all others 1 day after their last activity" in told
    assert "kept for 24 h after its end" in words(html(operator, list_url(Turn)))
    assert "for 30 days where its maker says nothing, and for ever if wished" in words(html(operator, list_url(Share)))
    assert "1,000 files and 1.0" in words(html(operator, list_url(Attachment)))
