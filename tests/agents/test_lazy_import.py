"""Who does not use Pydantic AI does not pay for it: nothing of it is imported before it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import sys
import chatproject.asgi
from django.core.management import call_command
if {check}:
    call_command("check")
from chat.agents.base import load_agent
load_agent()
roots = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(roots & {{"pydantic_ai", "openai", "httpx2"}}))
"""


def imported(check: bool, **settings: str) -> str:
    """What heavy packages a server process has imported, with these settings, once its agent is loaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "OPENAI_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(check=check)],
        env=environment | {"DJANGO_SETTINGS_MODULE": "chatproject.settings", "DEBUG": "1"} | settings,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_server_without_it_imports_nothing_of_it() -> None:
    assert imported(check=True) == "[]"


def test_a_server_with_it_does_so_when_it_is_checked_or_starts() -> None:
    assert imported(check=False, CHAT_MODEL="test") == "[]"
    assert "pydantic_ai" in imported(check=True, CHAT_MODEL="test")
