"""The demo project's settings for a server process that tells a test about itself."""

from __future__ import annotations

from chatproject.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.acceptance.watched.asgi.application"
CHAT_AGENT = "tests.acceptance.watched.agent.Agent"
