"""rakaia-streams in Django, with its durable store on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx

from benchmarks.peers import install
from benchmarks.peers.load import Sse
from benchmarks.peers.peer import Kept, Peer, Sent
from benchmarks.peers.place import uvicorn
from tests.acceptance.server import DemoServer

OFFSET = re.compile(rb'"streamNextOffset": ?"([^"]+)"')


class RakaiaServer(Peer):
    name = "rakaia"
    title = "Django, rakaia-streams"
    how = (
        "`servers/rakaia_chat.py`: rakaia-streams 0.9.0 with its durable store, its protocol application in front of "
        "Django; uvicorn. Streams only: that an answer is a stream of its own, which whoever creates it fills, is ours"
    )
    keeps = "PostgreSQL (a row an event)"
    stamp = re.compile(rb'"delta": ?"(\d{6,}) "')
    dialect = Sse(stamp, b'"streamClosed"')
    has_cursor = True

    def start(self) -> DemoServer:
        interpreter = install.python("rakaia", "rakaia-streams[django,postgres]==0.9.0", "uvicorn[standard]>=0.35")
        return self.place.serve(
            *uvicorn(interpreter, "benchmarks.peers.servers.rakaia_chat:application", "--lifespan", "off"),
            RUNS=str(self.runs),
            **self.place.database(),
        )

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        offset = OFFSET.findall(b"\n".join(seen))[-1].decode() if seen else "-1"
        return self.events("GET", self._path(sent), params={"offset": offset, "live": "sse"})

    def events(self, method: str, path: str, **request: Any) -> Iterator[bytes] | None:
        """Each event with the control event that follows it and says where its reader is then."""
        found = super().events(method, path, **request)
        return None if found is None else (b"\n\n".join(pair) for pair in zip(found, found, strict=False))

    def kept(self, sent: Sent) -> Kept:
        """What the protocol's own read of the stream gives."""
        found = httpx.get(f"{self.server.url}{self._path(sent)}", params={"offset": "-1"}, verify=False)
        closed = "stream-closed" in found.headers
        stored = self.tokens([found.content])
        return Kept(found.text.count('"role"'), [stored], "stream closed" if closed else "stream said to be live")

    def _path(self, sent: Sent) -> str:
        return f"/streams/{sent.thread}/{sent.message}"
