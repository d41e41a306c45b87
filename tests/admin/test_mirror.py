"""A chat's array beside its mirror, and the button that mends the difference."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage, ReconcileRun
from chat.store.scope import Scope
from tests.admin.pages import html, list_url, page_url, words
from tests.copilot.chats import array, assert_mirrored, chat_with, element, elements, mirror
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def drifted() -> CopilotChat:
    """A chat with one of each drift, and one rejected element."""
    owner = UserFactory.create()
    messages = [*elements("u1", "a1", "u2", "a2", "u3"), element("u1")]
    chat = CopilotChat.objects.get(pk=chat_with(Scope(owner.pk), messages=messages))
    rows = CopilotMessage.objects.filter(chat=chat)
    rows.filter(message_id="u1").delete()
    rows.filter(message_id="a1").update(content={"content": "<b>older</b> words"})
    rows.filter(message_id="u2").update(seq=3)
    rows.filter(message_id="a2").update(seq=2)
    CopilotMessage.objects.create(
        chat=chat, message_id="ghost", seq=9, role="user", content={}, created_at="2026-05-01T10:00:00Z"
    )
    return chat


def reconcile_url(chat: CopilotChat) -> str:
    return reverse("admin:chat_copilotchat_reconcile", args=[chat.pk])


def test_the_page_of_a_chat_marks_every_difference(admin_client: Client, drifted: CopilotChat) -> None:
    page = html(admin_client, page_url(drifted))
    for verdict in ("1 missing", "1 changed", "1 extra", "2 misordered", "1 rejected"):
        assert verdict in words(page)
    assert "&lt;b&gt;older" in page
    assert words(page).count("Misordered") == 2
    only = html(admin_client, page_url(drifted), drift=1)
    assert "words of u3" in page
    assert "words of u3" not in only
    assert reconcile_url(drifted) in page


@pytest.mark.parametrize("offset", ["9" * 18, str(2**63), "9" * 19, "9" * 99, "-1", "x"])
def test_no_offset_breaks_the_page_of_a_chat(admin_client: Client, drifted: CopilotChat, offset: str) -> None:
    assert "1 missing" in words(html(admin_client, page_url(drifted), offset=offset))


def test_the_button_mends_one_chat_and_leaves_a_record(admin_client: Client, drifted: CopilotChat) -> None:
    other = chat_with(Scope(drifted.user_id), "u1", mirrored=False)
    answer = admin_client.post(reconcile_url(drifted), follow=True)
    assert "5 differences were mended" in answer.content.decode()
    assert mirror(drifted.pk) == ["u1", "a1", "u2", "a2", "u3"]
    assert mirror(other) == []
    run = ReconcileRun.objects.get()
    assert (run.scope, run.is_clean) == (f"chat {drifted.pk}", True)
    assert "Clean" in words(html(admin_client, list_url(ReconcileRun)))
    assert "missing" in html(admin_client, page_url(run))
    assert reconcile_url(drifted) not in html(admin_client, page_url(drifted))


def test_a_second_press_of_the_button_finds_nothing_to_mend(admin_client: Client, drifted: CopilotChat) -> None:
    admin_client.post(reconcile_url(drifted))
    answer = admin_client.post(reconcile_url(drifted), follow=True)
    assert "There was nothing to mend." in answer.content.decode()


def test_a_run_that_was_killed_is_told_as_not_finished_and_found_by_its_number(admin_client: Client) -> None:
    killed, whole = (ReconcileRun.objects.create(mode="check", scope="all", phase="dual") for _ in range(2))
    ReconcileRun.objects.filter(pk=whole.pk).update(finished_at=Now(), is_clean=True)
    answer = admin_client.get(list_url(ReconcileRun), {"q": killed.pk})
    assert [run.pk for run in answer.context["cl"].result_list] == [killed.pk]
    assert "Not finished" in words(answer.content.decode())


def test_a_chat_whose_array_lacks_messages_is_told_and_found_by_its_id(
    admin_client: Client, drifted: CopilotChat
) -> None:
    chat_with(Scope(drifted.user_id), "u1", title="Healthy")
    CopilotChat.objects.filter(pk=drifted.pk).update(array_behind=True, title="Behind")
    page = words(html(admin_client, list_url(CopilotChat), q=drifted.pk))
    assert "Array lacks messages" in page
    assert "Healthy" not in page


def test_the_button_leaves_a_chat_alone_whose_array_lacks_messages_and_says_what_helps(
    admin_client: Client, drifted: CopilotChat
) -> None:
    CopilotChat.objects.filter(pk=drifted.pk).update(array_behind=True)
    before = mirror(drifted.pk)
    answer = admin_client.post(reconcile_url(drifted), follow=True)
    assert "lacks messages. Run reconcile_messages --from-mirror first." in answer.content.decode()
    assert mirror(drifted.pk) == before


def test_failed_writes_stand_in_the_list_and_can_be_filtered(admin_client: Client, drifted: CopilotChat) -> None:
    chat_with(Scope(drifted.user_id), "u1", title="Healthy")
    CopilotChat.objects.filter(pk=drifted.pk).update(mirror_failures=2, title="Sick")
    page = words(html(admin_client, list_url(CopilotChat)))
    assert "2 failed writes" in page
    assert "Healthy" in page
    assert "Healthy" not in words(html(admin_client, list_url(CopilotChat), mirror="failed"))


@pytest.mark.parametrize("phase", [Phase.JSONB, Phase.MIRROR_ONLY])
def test_nothing_is_mended_where_the_array_is_not_what_the_mirror_follows(
    admin_client: Client, drifted: CopilotChat, phase: Phase, settings: Any
) -> None:
    settings.COPILOT_MESSAGES_PHASE = phase
    assert reconcile_url(drifted) not in html(admin_client, page_url(drifted))
    assert admin_client.post(reconcile_url(drifted)).status_code == 403
    assert "u1" not in mirror(drifted.pk)


def test_only_who_may_view_messages_reads_and_only_who_may_change_them_mends(
    client_of_staff: Client, drifted: CopilotChat
) -> None:
    page = html(client_of_staff, page_url(drifted))
    assert "may not view messages" in page
    assert "words of" not in page
    assert client_of_staff.post(reconcile_url(drifted)).status_code == 403
    assert client_of_staff.get(reconcile_url(drifted)).status_code == 403
    assert not ReconcileRun.objects.exists()
    assert array(drifted.pk)


@pytest.fixture
def client_of_staff() -> Client:
    staff = UserFactory.create(is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_copilotchat"))
    browser = Client()
    browser.force_login(staff)
    return browser


def test_a_chat_that_is_right_says_so(admin_client: Client, drifted: CopilotChat) -> None:
    chat = CopilotChat.objects.get(pk=chat_with(Scope(drifted.user_id), "u1", "a1"))
    assert "No difference" in words(html(admin_client, page_url(chat)))
    assert_mirrored(chat.pk)
