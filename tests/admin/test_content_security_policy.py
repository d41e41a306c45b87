"""Django's admin, ours included, works under a policy of 'self' only: nothing inline, nothing from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from tests.admin.conftest import MODELS
from tests.admin.pages import html, list_url, one_of_each, page_url

pytestmark = pytest.mark.django_db


class Inline(HTMLParser):
    """Collects what a policy without 'unsafe-inline' refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in given):
            self.found.append(f"<{tag}>")
        self.found += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        for name in ("src", "href", "action"):
            address = given.get(name) or ""
            if address.startswith(("//", "http:", "https:", "javascript:", "data:")):
                self.found.append(f"{tag} {name}={address}")


def test_no_page_of_the_admin_holds_what_the_policy_refuses(operator: Client) -> None:
    urls = [list_url(model) for model in MODELS]
    urls += [page_url(row) for row in one_of_each()]
    urls += [reverse(f"admin:{name}") for name in ("index", "auth_user_changelist", "auth_user_add", "password_change")]
    for url in urls:
        parser = Inline()
        parser.feed(html(operator, url))
        assert parser.found == [], url


def test_the_policy_is_sent_with_the_admin(operator: Client) -> None:
    policy = operator.get(reverse("admin:index"))["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    assert "unsafe" not in policy
    assert settings.CONTENT_SECURITY_POLICY
