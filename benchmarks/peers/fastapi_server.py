"""FastAPI with fastapi-resumable-stream on Redis."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from benchmarks.peers import install
from benchmarks.peers.peer import Kept, Peer, Sent
from benchmarks.peers.place import uvicorn
from tests.acceptance.server import DemoServer

PREFIX = "fastapi-resumable-stream"


class FastApiServer(Peer):
    name = "fastapi"
    title = "FastAPI, fastapi-resumable-stream"
    how = (
        "`servers/fastapi_chat.py`: the endpoints of fastapi-resumable-stream 0.2.1's README with its recipe for "
        "`useChat`; uvicorn. It has no store of messages and its README speaks of none"
    )
    keeps = "Redis (every chunk, for an hour after the last)"
    has_cursor = True

    def start(self) -> DemoServer:
        interpreter = install.python(
            "fastapi", "fastapi-resumable-stream[fastapi]==0.2.1", "uvicorn[standard]>=0.35", "fastapi>=0.116"
        )
        return self.place.serve(
            *uvicorn(interpreter, "benchmarks.peers.servers.fastapi_chat:application"),
            REDIS_URL=self.place.redis,
            RUNS=str(self.runs),
        )

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        return self.events("GET", f"/api/chat/{sent.thread}/stream", params={"after": len(seen or [])})

    def kept(self, sent: Sent) -> Kept:
        """The chunks in Redis: there is nothing else."""
        stream = self._redis("GET", f"{PREFIX}:active:{sent.thread}")
        chunks = self._redis("LRANGE", f"{PREFIX}:buf:{stream}", "0", "-1") if stream else ""
        state = self._redis("GET", f"{PREFIX}:state:{stream}") if stream else ""
        said = {"1": "stream said to be live", "DONE": "stream done"}.get(state, "no stream")
        return Kept(
            0, [self.tokens([chunks.encode()])] if chunks else [], f"{said}; no database, chunks in Redis for an hour"
        )

    def _redis(self, *command: str) -> str:
        done = subprocess.run(
            [*install.redis("redis-cli"), "-u", self.place.redis, *command], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()
