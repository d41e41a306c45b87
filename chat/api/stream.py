"""The streaming endpoints: one small ASGI callable each, in front of Django's handler.

Django's own handler costs 3 ms of CPU for every stream it opens, and a thread pool for as long as it is open.
These run the same authenticators, host and CSRF rules (``access.authentication``), and none of the host's
middleware.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse

from chat import conf
from chat.access.authentication import authenticate
from chat.access.callers import caller_of_scope
from chat.access.grants import Grant
from chat.api import errors as wire
from chat.api.turns import shown
from chat.errors import (
    AccessLost,
    BodyTooLarge,
    MethodNotAllowed,
    ThreadNotFound,
    TurnNotFound,
)
from chat.protocol import sse
from chat.protocol.decisions import DecisionsBody, decisions_of
from chat.protocol.requests import ChatBody, checked_name, parse, told_length
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.store.threads import find_thread
from chat.store.turns import StoredTurn, live_turn, read_turn
from chat.streams.cursors import Cursor, parse_cursor
from chat.streams.hub import PIECE_BYTES
from chat.streams.readers import while_allowed
from chat.telemetry import event, measure
from chat.turns.approvals import decide, go_on, is_repost
from chat.turns.read import read_stream
from chat.turns.start import start_turn
from chat.turns.stop import stop_conversation, stop_turn

logger = logging.getLogger(__name__)

# Seconds that the end of a stream may take whose reader is shut out.
GOODBYE_SECONDS = 2.0

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The client left before its request was read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as an endpoint sees it."""

    grant: Grant
    body: bytes
    query: dict[str, list[str]]
    headers: dict[bytes, bytes]

    @property
    def asker(self) -> Scope:
        return self.grant.scope

    def after(self) -> Cursor | None:
        """Where the reader was: ``?after=``, or what an EventSource sends by itself. Raises InvalidInput."""
        if given := self.query.get("after"):
            return parse_cursor(given[-1])
        if (last := self.headers.get(b"last-event-id")) is not None:
            return parse_cursor(last.decode("latin-1"), "Last-Event-ID")
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain answer instead of a stream."""

    status: int
    body: Any = None


@dataclass(frozen=True, slots=True)
class Streamed:
    """A stream as the answer, for as long as the asker may see the conversation."""

    conversation: UUID
    frames: AsyncIterator[bytes]


Endpoint = Callable[..., Awaitable[Answer | Streamed]]


def asgi(method: str) -> Callable[[Endpoint], Callable[..., HttpResponse]]:
    """Make an endpoint a Django view for the URLconf whose work is done by ``view.asgi``.

    ``chat.asgi`` finds it by resolving the path, so it stands under any prefix. Called as a view, it was reached
    without ``chat.asgi`` and says so.
    """

    def wrap(endpoint: Endpoint) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            raise RuntimeError("Streaming endpoints need an ASGI server and chat.asgi around the application.")

        async def application(scope: dict[str, Any], receive: Receive, send: Send, **kwargs: Any) -> None:
            await _serve(endpoint, method, scope, receive, send, kwargs)

        view.asgi = application  # type: ignore[attr-defined]
        view.method = method  # type: ignore[attr-defined]
        view.csrf_exempt = True  # type: ignore[attr-defined]  # checked by access.authentication
        view.__name__ = getattr(endpoint, "__name__", "stream")
        return view

    return wrap


@asgi("POST")
async def send_message(asked: Asked) -> Streamed:
    """``POST /api/chat``: begin a turn, or join the one that this retry means, and stream it. Where the last message is
    the answer, it brings decisions, and the stream is what the answer goes on with.
    """
    body = parse(asked.body, ChatBody)
    if is_repost(body):
        turn = await go_on(asked.asker, body)
        return await streamed(asked, turn, turn.last_seq)
    return await streamed(asked, await start_turn(asked.asker, body))


@asgi("GET")
async def resume(asked: Asked, thread_id: str) -> Answer | Streamed:
    """``GET /api/chat/{id}/stream``: the live turn from its start, or what follows a cursor; 204 when none is live."""
    cursor = asked.after()
    try:
        thread = await in_thread(find_thread, asked.asker, checked_name(thread_id, "thread_id"))
    except ThreadNotFound:
        if cursor is not None:
            raise
        return Answer(204)  # a fresh client asks before its first send
    if cursor is not None:
        turn = await in_thread(read_turn, asked.asker, cursor.turn)
        if turn.thread_id != thread:
            raise TurnNotFound
        return await streamed(asked, turn, cursor.seq)
    live = await in_thread(live_turn, asked.asker, thread)
    return Answer(204) if live is None else await streamed(asked, live)


@asgi("GET")
async def turn_stream(asked: Asked, pk: int) -> Streamed:
    """``GET /api/turns/{pk}/stream``: the stream of a turn, during or after."""
    cursor = asked.after()
    if cursor is not None and cursor.turn != pk:
        raise TurnNotFound
    turn: StoredTurn = await in_thread(read_turn, asked.asker, pk)
    return await streamed(asked, turn, cursor.seq if cursor else 0)


async def streamed(asked: Asked, turn: StoredTurn, after: int = 0) -> Streamed:
    """The stream of a turn that the asker may see, behind chunk ``after``. Raises CursorGone."""
    return Streamed(turn.conversation, await read_stream(asked.asker, turn, after))


@asgi("POST")
async def decide_calls(asked: Asked, pk: int) -> Answer:
    """``POST /api/turns/{pk}/approvals/``: decisions on calls that the turn waits for; the turn as it stands then."""
    body = parse(asked.body, DecisionsBody)
    return Answer(200, shown(await decide(asked.asker, pk, decisions_of(body))))


@asgi("POST")
async def stop(asked: Asked, thread_id: str) -> Answer:
    """``POST /api/chat/{id}/stop``: 202 with the turn that is asked to stop, 200 ``idle`` when none is live."""
    thread = await in_thread(find_thread, asked.asker, checked_name(thread_id, "thread_id"))
    turn = await stop_conversation(asked.asker, thread)
    return Answer(200, {"status": "idle"}) if turn is None else Answer(202, {"status": "stopping", "turn": turn})


@asgi("POST")
async def stop_one(asked: Asked, pk: int) -> Answer:
    """``POST /api/turns/{pk}/stop``: 202 when this live turn is asked to stop; 200 ``stopped`` for a queued one, which
    is cancelled by it, and for one that waited for decisions; ``idle`` for one that has ended.
    """
    turn = await stop_turn(asked.asker, pk)
    if turn.streaming:
        return Answer(202, {"status": "stopping", "turn": pk})
    return Answer(200, {"status": "idle" if turn.ended else "stopped", "turn": pk})


async def _serve(
    endpoint: Endpoint,
    method: str,
    scope: dict[str, Any],
    receive: Receive,
    send: Send,
    kwargs: dict[str, Any],
) -> None:
    try:
        if scope["method"] != method:
            raise MethodNotAllowed(allow=method)
        caller = caller_of_scope(scope)
        with caller.counted():
            body = await _read_body(scope, receive)
            grant = await in_thread(authenticate, scope, body)
        caller.let_in(grant.scope.user_id)
        asked = Asked(grant, body, parse_qs(scope["query_string"].decode("latin-1")), dict(scope["headers"]))
        answer = await endpoint(asked, **kwargs)
    except ClientGone:
        return
    except Exception as problem:
        error = wire.told(problem, getattr(endpoint, "__name__", "stream"))
    else:
        if isinstance(answer, Answer):
            await _send_answer(send, answer)
        else:
            try:
                with while_allowed(grant, answer.conversation):
                    await _send_stream(answer.frames, receive, send)
            except AccessLost:
                with suppress(OSError, TimeoutError):  # it may not even read
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await send_whole(send, wire.status_of(error), wire.body_of(error), wire.headers_of(error))


async def _read_body(scope: dict[str, Any], receive: Receive) -> bytes:
    most = conf.get("MAX_BODY_BYTES")
    if told_length(dict(scope["headers"]).get(b"content-length", b"").decode("latin-1")) > most:
        raise BodyTooLarge
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise BodyTooLarge
        pieces.append(piece)
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _send_stream(frames: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Send frames until they end, the client leaves or does not read; a comment now and then while there are none."""
    await send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
    now = asyncio.get_running_loop().time
    # Whether we are within a piece; since when the server holds on to a slice of it, which the reader does not take, or
    # nothing was sent.
    sending, since = False, now()

    async def pump() -> None:
        nonlocal sending, since
        async with aclosing(frames) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                sending = True
                # One frame may be an image: a slow line takes its time for it. One to two PIECE_BYTES at once.
                size = -(-len(piece) // max(1, len(piece) // PIECE_BYTES))
                for start in range(0, len(piece), size):
                    since = now()
                    body = piece[start : start + size]
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                sending, since = False, now()
        sending, since = True, now()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def watch() -> None:
        """Keep an idle connection alive, and end when its reader is too slow. No timer for each piece, that costs."""
        nonlocal since
        pause, patience = conf.get("KEEP_ALIVE_SECONDS"), conf.get("SLOW_READER_SECONDS")
        while not sending or now() - since < patience:
            left = since + (patience if sending else pause) - now()
            await asyncio.sleep(max(0, min(left, pause, patience)))
            if not sending and now() - since >= pause:
                since = now()
                try:
                    async with asyncio.timeout(patience):
                        await send({"type": "http.response.body", "body": sse.KEEP_ALIVE, "more_body": True})
                except TimeoutError:
                    return

    async def client_leaves() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watching, leaving, *_ = tasks = [asyncio.ensure_future(task()) for task in (watch, client_leaves, pump)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if done == {watching} and watching.exception() is None:
            patience = conf.get("SLOW_READER_SECONDS")
            logger.info("a reader that did not read for %s s was dropped", patience, extra=event("reader_dropped"))
            measure("chat_readers_dropped_total")
            await _cut(send, leaving)
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, OSError):
                name = type(result).__name__
                logger.error("a stream broke: %s", name, exc_info=result, extra=event("stream_broke", problem=name))


async def _cut(send: Send, gone: asyncio.Future[None]) -> None:
    """Break the connection off, where the server lets us, which ASGI has no word for: uvicorn's ``send`` knows its
    transport. Any other server closes it when the endpoint returns, after what it holds for the reader is read.
    """
    transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        await asyncio.wait([gone], timeout=1)


async def _send_answer(send: Send, answer: Answer) -> None:
    body = b"" if answer.body is None else orjson.dumps(answer.body, default=str)
    await send_whole(send, answer.status, body, {"Cache-Control": "no-store"})


async def send_whole(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    fields = {"Content-Length": str(len(body)), **headers}
    if body:
        fields["Content-Type"] = "application/json"
    with suppress(OSError):  # nobody waits for it any more
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
            }
        )
        await send({"type": "http.response.body", "body": body})
