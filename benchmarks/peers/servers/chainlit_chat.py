# mypy: ignore-errors
# (its packages are in the peer's own environment)
"""A Chainlit application as its documentation has it: the answer streamed into a message, then sent; its own PostgreSQL
data layer (``DATABASE_URL``), password login and ``on_chat_resume``, which the data layer needs to show old chats.
"""

from __future__ import annotations

import chainlit as cl

from benchmarks.peers.servers.tokens import tokens


@cl.password_auth_callback
def log_in(username: str, password: str) -> cl.User | None:
    return cl.User(identifier=username) if password == "reader" else None


@cl.on_chat_resume
async def resume(thread: dict[str, object]) -> None:
    """The frontend shows the stored steps; a program with a memory would rebuild it here."""


@cl.on_message
async def answer(message: cl.Message) -> None:
    reply = cl.Message(content="")
    async for token in tokens(message.content):
        await reply.stream_token(token)
    await reply.send()
