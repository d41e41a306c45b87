from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.sites import site
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from chat.models import Message, Thread, Turn
from tests.admin.conftest import HISTORY, MODELS
from tests.admin.pages import answered, html, list_url, one_of_each, page_url

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_superuser_can_add_none(operator: Client, model: type[Model]) -> None:
    add = reverse(f"admin:chat_{model._meta.model_name}_add")
    assert operator.get(add).status_code == 403
    assert operator.post(add, {"title": "new", "turn_id": "x"}).status_code == 403
    assert add not in html(operator, list_url(model))


def test_a_superuser_can_change_and_delete_none(operator: Client) -> None:
    for row in one_of_each():
        before = type(row)._default_manager.filter(pk=row.pk).values().get()
        assert operator.post(page_url(row), {"title": "x", "role": "system", "status": "failed"}).status_code == 403
        assert operator.post(page_url(row, "delete"), {"post": "yes"}).status_code == 403
        assert type(row)._default_manager.filter(pk=row.pk).values().get() == before
        page = html(operator, page_url(row))
        assert 'name="_save"' not in page
        assert "deletelink" not in page


@pytest.mark.parametrize("model", HISTORY, ids=lambda model: model.__name__)
def test_history_has_no_bulk_action_not_even_one_that_the_site_has_for_all(
    operator: Client, model: type[Model]
) -> None:
    rows = one_of_each()
    site.add_action(lambda admin, request, rows: rows.delete(), "wipe")
    try:
        assert "wipe" not in html(operator, list_url(model))
        chosen = [str(row.pk) for row in rows if type(row) is model]
        for action in ("wipe", "delete_selected"):
            operator.post(list_url(model), {"action": action, "_selected_action": chosen, "post": "yes"})
    finally:
        site.disable_action("wipe")
        del site._global_actions["wipe"]  # type: ignore[attr-defined]
    assert model._default_manager.filter(pk__in=chosen).count() == len(chosen)


def test_a_user_who_has_history_is_not_deleted_with_it(operator: Client) -> None:
    thread = answered().thread
    assert thread is not None
    delete = reverse("admin:auth_user_delete", args=[thread.owner.pk])
    operator.post(delete, {"post": "yes"})
    assert Thread.objects.filter(pk=thread.pk).exists()
    assert Message.objects.filter(thread=thread).count() == 2


def test_what_staff_may_not_view_they_do_not_see(staff: Callable[..., Client]) -> None:
    rows = one_of_each()
    browser = staff()
    for row in rows:
        assert browser.get(list_url(type(row))).status_code == 403
        assert browser.get(page_url(row)).status_code == 403


def test_who_may_view_threads_only_sees_no_message_and_no_usage(staff: Callable[..., Client]) -> None:
    thread = answered(7).thread
    assert thread is not None
    page = html(staff("view_thread"), page_url(thread))
    assert thread.title in page
    assert "may not view messages" in page
    assert "Question 7" not in page
    assert "tokens" not in page.lower()

    page = html(staff("view_thread", "view_message"), page_url(thread))
    assert "Question 7" in page
    assert "15 tokens" not in page
    assert list_url(Turn) + "?" not in page


def test_a_visitor_has_to_log_in() -> None:
    for row in one_of_each():
        answer = Client(headers={"host": "127.0.0.1"}).get(page_url(row))
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("admin:login"))
