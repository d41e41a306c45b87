"""The demo project as tests look into it: settings, an application and an agent of their own."""

from __future__ import annotations

import httpx

SETTINGS = "tests.acceptance.watched.settings"


def held(client: httpx.Client) -> dict[str, int]:
    """Tasks, threads, readers and streams of a server process."""
    answer: dict[str, int] = client.get("/watched").raise_for_status().json()
    return answer


def resident(client: httpx.Client) -> int:
    """Its bytes of memory."""
    return int(client.get("/watched?memory").raise_for_status().json())
