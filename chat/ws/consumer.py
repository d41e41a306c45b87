"""``/ws/threads/{id}/?after=<cursor>``: a thread's turns and chunks as they come, and the same verbs as over HTTP.

Never generates inside a handler: a submit begins a run of the process, which goes on without the socket. Refused
sockets are accepted first, so that a page can read the code: it is 4000 and the HTTP status of the same error (4400,
4401, 4404, 4410, 4429, 4503 …); 4408 for a client that does not read, 1012 when the process ends. A foreign origin
gets no socket at all (403).

Without ``after`` a socket is told the turns that have not ended and those to come; ``after=<cursor>`` brings what
follows that chunk, and the turns behind that one, ended or not (``0-0``: all of them).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer

from chat import conf
from chat.access import throttle
from chat.access.authentication import authenticate_socket
from chat.access.callers import Caller, caller_of_scope
from chat.access.grants import Grant, standing
from chat.api import errors as wire
from chat.api import turns
from chat.errors import AccessLost, BodyTooLarge, InvalidInput, OriginRefused, TurnNotFound
from chat.models import TurnStatus
from chat.protocol.decisions import decisions_of
from chat.protocol.frames import ClientFrame, client_frame, server_frame
from chat.protocol.requests import ChatBody, checked_name, validated
from chat.store.crossing import in_thread
from chat.store.threads import find_thread
from chat.store.turns import StoredTurn, read_turn
from chat.streams.cursors import Cursor, parse_cursor
from chat.streams.hub import PIECE_BYTES
from chat.streams.readers import while_allowed
from chat.turns.approvals import decide, go_on, is_repost
from chat.turns.read import read_frames
from chat.turns.start import start_turn
from chat.turns.stop import stop_conversation, stop_turn
from chat.ws.telling import Telling

SUBPROTOCOL = "chat"
SLOW = 4408
SERVICE_RESTART = 1012
# Seconds that closing the socket of somebody who does not read may take.
CLOSE_SECONDS = 5.0


class ThreadConsumer(AsyncWebsocketConsumer):
    """One socket of one thread."""

    grant: Grant
    thread: UUID
    telling: Telling
    task: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened = asyncio.Event()

    async def connect(self) -> None:
        offered = self.scope.get("subprotocols", ())
        protocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
        try:
            cursor = self._after()
            caller = caller_of_scope(dict(self.scope))
            with caller.counted():
                self.grant, self.thread, begun = await in_thread(self._admit, caller, cursor)
            after = cursor.seq if cursor else 0
            frames = None
            # Nobody who has read an ended turn to its end needs its log, and it may be pruned by now.
            read = begun is not None and begun.ended and 0 < after == begun.last_seq
            if begun is not None and not read and begun.status != TurnStatus.QUEUED:
                frames = await read_frames(self.grant.scope, begun, after)
        except OriginRefused:
            await self.close()
            return
        except Exception as problem:
            await self.accept(protocol)
            self.opened.set()
            await self._refuse(problem)
            return
        self.telling = Telling(self.grant.scope, self.thread, self._send)
        self.task = asyncio.create_task(self._tell(cursor, begun, frames), name="chat socket")
        await self.telling.watches.wait()  # nothing that happens once it is open is missed
        await self.accept(protocol)
        self.opened.set()

    def _after(self) -> Cursor | None:
        given = parse_qs(self.scope["query_string"].decode("latin-1")).get("after")
        return parse_cursor(given[-1]) if given else None

    def _admit(self, caller: Caller, after: Cursor | None) -> tuple[Grant, UUID, StoredTurn | None]:
        grant = authenticate_socket(dict(self.scope))
        caller.let_in(grant.scope.user_id)
        name = checked_name(self.scope["url_route"]["kwargs"]["thread_id"], "thread_id")
        thread = find_thread(grant.scope, name)
        if after is None:
            return grant, thread, None
        if after.turn == 0:  # before the first turn
            return grant, thread, None
        turn = read_turn(grant.scope, after.turn)
        if turn.thread_id != thread:
            raise TurnNotFound
        return grant, thread, turn

    async def _tell(self, *begun: Any) -> None:
        try:
            try:
                with while_allowed(self.grant, self.thread):
                    await self.telling.run(*begun)
            finally:
                self.telling.watches.set()
            await self._end(SERVICE_RESTART)
        except TimeoutError:
            await self._end(SLOW)
        except BaseExceptionGroup as group:
            problem = group.exceptions[0]
            if isinstance(problem, TimeoutError):
                await self._end(SLOW)
            elif isinstance(problem, Exception) and not isinstance(problem, OSError):  # else the client has left
                await self._refuse(problem)
        except Exception as problem:
            await self._refuse(problem)

    async def _refuse(self, problem: Exception) -> None:
        error = wire.told(problem, type(self).__name__)
        with suppress(Exception):  # it may have left
            await self._send(server_frame("error", wire.content_of(error)))
        await self._end(4000 + wire.status_of(error))

    async def _end(self, code: int) -> None:
        await self.opened.wait()
        with suppress(Exception):
            await asyncio.wait_for(self.close(code), CLOSE_SECONDS)

    async def _send(self, text: str) -> None:
        await self.opened.wait()
        pieces = max(1.0, len(text) / PIECE_BYTES)  # a frame cannot be cut, and one may be an image
        async with asyncio.timeout(conf.get("SLOW_READER_SECONDS") * pieces):
            await self.send(text)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        ref = None
        try:
            if self.task is None or self.task.done():
                return  # refused, and on its way out
            throttle.requests.take(self.grant.scope.user_id)
            if text_data is None:
                raise InvalidInput("frame", "Frames are text.")
            if len(text_data) > conf.get("MAX_BODY_BYTES"):
                raise BodyTooLarge
            frame = client_frame(text_data)
            ref = frame.ref
            # Who reads is looked at now and then; who sends something, each time, as over HTTP.
            if not all(await in_thread(standing, [(self.grant, self.thread)])):
                raise AccessLost
            await self._act(frame)
        except Exception as problem:
            with suppress(OSError, TimeoutError):
                error = wire.told(problem, type(self).__name__)
                await self._send(server_frame("error", wire.content_of(error), ref))

    async def _act(self, frame: ClientFrame) -> None:
        scope = self.grant.scope
        if frame.submit is not None:
            body = validated({**frame.submit, "id": str(self.thread)}, ChatBody, "submit")
            turn = await (go_on(scope, body) if is_repost(body) else start_turn(scope, body))
            await self._send(server_frame("turn", turns.shown(turn), frame.ref))
            self.telling.tell_soon(turn)  # one that had ended is replayed from its start
        elif frame.stop is not None:
            if frame.stop.turn is not None:
                await self._require_own(frame.stop.turn)
                await stop_turn(scope, frame.stop.turn)
                pk: int | None = frame.stop.turn
            else:
                pk = await stop_conversation(scope, self.thread)
            await self._send(server_frame("stop", {"turn": pk}, frame.ref))
        elif frame.approve is not None:
            await self._require_own(frame.approve.turn)
            turn = await decide(scope, frame.approve.turn, decisions_of(frame.approve, "approve."))
            await self._send(server_frame("approve", turns.shown(turn), frame.ref))

    async def _require_own(self, turn: int) -> None:
        if (await in_thread(read_turn, self.grant.scope, turn)).thread_id != self.thread:
            raise TurnNotFound

    async def disconnect(self, code: int) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
