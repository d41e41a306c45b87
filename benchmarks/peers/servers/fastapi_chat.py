# mypy: ignore-errors
# (its packages are in the peer's own environment)
"""FastAPI with fastapi-resumable-stream, put together as its README says: its chat endpoints, its recipe for the AI
SDK's ``useChat``, its stream ids made of conversation and prompt.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from fastapi import FastAPI, Response
from fastapi_resumable_stream import (
    ActiveStreamRegistry,
    ResumableStream,
    StopController,
    resume_conversation_stream,
    start_conversation_stream,
    streaming_response,
)
from fastapi_resumable_stream.adapters import VERCEL_STREAM_HEADERS, to_vercel_ui_message_stream
from redis.asyncio import Redis

from benchmarks.peers.servers.tokens import tokens

application = FastAPI()
# Each reader holds one; the default is a hundred.
redis = Redis.from_url(os.environ["REDIS_URL"], max_connections=10_000)
stream = ResumableStream(redis)
registry = ActiveStreamRegistry(redis)
stop = StopController(redis)


@application.post("/api/chat")
async def start_stream(body: dict[str, Any]) -> Response:
    prompt = body["messages"][-1]["parts"][0]["text"]
    stream_id = f"{body['id']}:{hashlib.sha256(prompt.encode()).hexdigest()}"
    return await start_conversation_stream(
        stream,
        registry,
        stop,
        body["id"],
        stream_id,
        producer=lambda: to_vercel_ui_message_stream(tokens(prompt)),
        extra_headers=VERCEL_STREAM_HEADERS,
    )


@application.get("/api/chat/{conversation_id}/stream")
async def resume_stream(conversation_id: str, after: int = 0) -> Response:
    resumed = await resume_conversation_stream(stream, registry, conversation_id, after=after)
    if resumed is None:
        return Response(status_code=204)
    return streaming_response(resumed, extra_headers=VERCEL_STREAM_HEADERS)


@application.get("/readyz")
async def ready() -> str:
    return "ready"
