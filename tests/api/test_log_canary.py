"""What people and models say, and keys, stand in no log and in no error's answer, whatever goes wrong."""

from __future__ import annotations

import asyncio
import logging
import logging.config
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connection

from chat.agents.base import TurnContext
from chat.models import Message, Turn
from chat.testing.client import Client, said
from chat.turns.recover import recover_expired
from tests.refusals import only_rows
from tests.ws.sockets import socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
WORD, TOOL, KEY = "Canary-8841-said", "Canary-8841-tool", "sk-canary-8841"


class Broken:
    """An agent that says something, calls a tool and breaks with all of it in its error."""

    async def run(self, turn: TurnContext) -> Any:
        yield {"type": "text-start", "id": "1"}
        yield {"type": "text-delta", "id": "1", "delta": turn.text}
        yield {"type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": {"x": TOOL}}
        yield {"type": "no-such-chunk", "delta": TOOL}
        raise RuntimeError(f"{turn.text} {TOOL} Authorization: Bearer {KEY}")


# Faults of ours in the middle of a request: a table that is not there, and rules that what was said breaks, or that
# cannot read it. PostgreSQL quotes it then.
RULE = "ALTER TABLE chat_feedback ADD CONSTRAINT no_words CHECK ({}) NOT VALID"
NO_RULE = "ALTER TABLE chat_feedback DROP CONSTRAINT no_words"
FAULTS = {
    "ALTER TABLE chat_feedback RENAME TO feedback_away": "ALTER TABLE feedback_away RENAME TO chat_feedback",
    RULE.format("comment = ''"): NO_RULE,
    RULE.format("comment::integer > 0"): NO_RULE,
}


@sync_to_async
def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def formatters() -> list[logging.Formatter]:
    """The demo project's two: one shows the text of a record, the other all that it holds."""
    configurator = logging.config.DictConfigurator(django_settings.LOGGING)
    return [configurator.configure_formatter(dict(one)) for one in configurator.config["formatters"].values()]


async def test_a_turn_is_told_by_its_fields_as_json(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chat")
    sent = await client.request("POST", "/api/chat", said("t1", "/tokens 3 0", "m1"))
    assert sent.status == 200
    (ended,) = [record for record in caplog.records if getattr(record, "event", "") == "turn_ended"]
    told = orjson.loads(formatters()[1].format(ended))
    assert (told["level"], told["event"], told["status"]) == ("INFO", "turn_ended", "completed")
    assert {"turn", "conversation", "milliseconds", "first_chunk_ms", "total_tokens"} <= told.keys()


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(formatter.format(record) for record in caplog.records for formatter in formatters())


async def test_an_end_that_postgresql_refuses_is_told_without_the_row_that_it_refused(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHAT_AGENT = "tests.api.test_log_canary.Broken"
    async with only_rows("chat_messages", f"role = 'user' OR strpos(parts::text, '{WORD}') = 0"):
        reading = asyncio.create_task(client.send("t1", WORD))
        while "could not be stored (IntegrityError)" not in caplog.text:
            await asyncio.sleep(0.01)
    told = logged(caplog)
    assert "only_rows" in told, "nothing was logged, so nothing was tested"
    for secret in ("Canary-8841", KEY):
        assert secret not in told, told
    await Turn.objects.aupdate(heartbeat_at="2026-01-01T00:00:00Z")
    await sync_to_async(recover_expired)()
    await reading


async def test_no_path_writes_what_was_said_into_a_log_or_an_error(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    # Django's own log of statements, which DEBUG turns on, holds every value by design.
    logging.getLogger("django.db.backends").setLevel(logging.INFO)
    settings.CHAT_AGENT = "tests.api.test_log_canary.Broken"
    answers = []
    for method, path, body in [
        ("POST", "/api/chat", said("t1", WORD, "m1")),
        ("POST", "/api/chat", said("t1", WORD + "!", "m1")),  # a conflict
        ("POST", "/api/chat", said("t1", WORD + "\x00", "m2")),
        ("POST", "/api/chat", b'{"id": "t1", "messages": [{"role": "user", "parts": "' + WORD.encode() + b'"}]}'),
        ("POST", "/api/chat", WORD.encode()),
        ("PATCH", "/api/threads/t1/", {"title": WORD + "x" * 300}),
        ("PATCH", "/api/threads/t1/", b'{"metadata": {"x": "' + WORD.encode() + b'", "n": 1e400}}'),
        ("POST", "/api/import/", {"format": "durable-chat", "version": 1, "threads": [{"id": WORD, "messages": WORD}]}),
        ("GET", f"/api/search/?q={WORD}%00", None),
        ("PUT", "/api/messages/1/feedback/", {"rating": WORD}),
        ("POST", "/api/threads/t1/messages/", {"role": "user", "parts": [{"type": WORD}]}),
    ]:
        response = await client.request(method, path, body)
        if response.status >= 400:
            answers.append(response.body.decode())
    assert len(answers) >= 8
    keyed = Client({"authorization": f"Bearer {KEY}"})
    answers.append((await keyed.request("GET", "/api/threads/")).body.decode())
    answers.append((await keyed.request("GET", "/api/chat/t1/stream")).body.decode())
    answered = (await Message.objects.aget(role="assistant")).pk
    for fault, mended in FAULTS.items():
        await run(fault)
        try:
            broken = await client.request(
                "PUT", f"/api/messages/{answered}/feedback/", {"rating": "up", "comment": WORD}
            )
            assert broken.status == 500
            answers.append(broken.body.decode())
        finally:
            await run(mended)
    await run("ALTER TABLE chat_threads RENAME TO chat_threads_away")
    try:
        broken = await client.request("GET", f"/api/chat/{WORD}/stream")
        assert broken.status == 500
        answers.append(broken.body.decode())
        async with socket(client, f"/ws/threads/{WORD}/") as tab:
            answers.append(str(await tab.hear()))
            assert (await tab.hear(), tab.code) == (None, 4500)
    finally:
        await run("ALTER TABLE chat_threads_away RENAME TO chat_threads")
    faults = [record for record in caplog.records if getattr(record, "event", "") == "request_failed"]
    assert [record.place for record in faults] == [*["MessageFeedback"] * len(FAULTS), "resume", "ThreadConsumer"]  # type: ignore[attr-defined]
    output, log = capfd.readouterr(), logged(caplog)
    for told in ("failed", "chat_feedback", "no_words", "InvalidTextRepresentation"):
        assert told in log, "nothing was logged, so nothing was tested"
    for where in (log, output.out, output.err, *answers):
        for secret in ("Canary-8841", KEY):
            assert secret not in where, where
