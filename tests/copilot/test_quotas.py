"""A user's limits hold for copilot chats and threads together."""

from __future__ import annotations

from typing import Any

import pytest

from chat.models import CopilotChat, Turn
from chat.store.scope import Scope
from chat.testing.client import Client, said
from tests.copilot.turns import body, made, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_turns_of_chats_and_threads_are_counted_together(client: Client, asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    one, other = await made(asker), await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(one, "/hang", "m1")) as stream:
        await stream.until("text-delta")
        for path, content in (("/api/copilot/chat", body(other, "Hello", "m2")), ("/api/chat", said("t1", "Hello"))):
            refused = await client.request("POST", path, content)
            assert refused.status == 429
            assert (refused.json()["error"]["code"], refused.json()["error"]["limit"]) == (
                "quota_exceeded",
                "live_turns",
            )
        assert (await CopilotChat.objects.aget(pk=other)).messages == []
        retried = await client.request("POST", "/api/copilot/chat", body(one, "/hang", "m1") | {"message": "other"})
        assert retried.status == 409
        await client.request("POST", "/api/copilot/chat/stop", {"chatId": str(one)})
        async for _ in stream.events():
            pass
    assert (await send(client, other, "Hello", "m2")).status == 200
    assert (await client.send("t1", "Hello")).status == 200
    assert await Turn.objects.acount() == 3


async def test_the_tokens_of_a_chats_turn_count(client: Client, asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_TOKENS_A_DAY = 5
    settings.CHAT_QUOTA_TOKENS_RESERVED = 0
    chat = await made(asker)
    assert (await send(client, chat, "/tokens 9 0", "m1")).status == 200
    refused = await send(client, chat, "/tokens 9 0", "m2")
    assert (refused.status, refused.json()["error"]["limit"]) == (429, "tokens_a_day")
