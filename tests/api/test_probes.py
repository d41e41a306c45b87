"""``/healthz`` and ``/readyz``: asked by machines, by whatever name, most of all when something is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from chat.testing.client import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
# A balancer asks a machine by its address, which is no name that is served.
PROBE = Client({"host": "10.0.0.7"})


async def asked(path: str, method: str = "GET") -> tuple[int, bytes]:
    response = await PROBE.request(method, path)
    return response.status, response.body


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_is_answered_whatever_host_it_names(settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert await asked(path) == (200, b'{"status":"ok"}')
    assert await asked(path, "HEAD") == (200, b"")


async def test_that_the_process_answers_needs_no_database(
    monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    with django_db_blocker.block():
        assert await asked("/healthz") == (200, b'{"status":"ok"}')


async def test_however_many_want_to_know_the_database_is_asked_once_a_second(django_db_blocker: Any) -> None:
    assert (await asked("/readyz"))[0] == 200
    with django_db_blocker.block():
        assert {(await asked("/readyz"))[0] for _ in range(5)} == {200}
