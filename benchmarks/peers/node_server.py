"""The AI SDK's server on Node, with resumable-stream on Redis and a chat store in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.peers import install
from benchmarks.peers.peer import Kept, Peer, Sent, told
from tests.acceptance.server import DemoServer


class NodeServer(Peer):
    name = "node"
    title = "AI SDK on Node, resumable-stream"
    how = (
        "`node/server.mjs`: `streamText` with the SDK's own mock model, `consumeStream`, `resumable-stream` and a chat "
        "store, as the SDK's guides on persistence, on resuming and on disconnects put them together; the store, which "
        "they leave open, is one row a chat"
    )
    keeps = "PostgreSQL (chats), Redis (whether a stream is live; chunks pass through it when somebody resumes)"

    def start(self) -> DemoServer:
        folder = install.node()
        return self.place.serve(
            "env",
            "PORT={port}",
            "node",
            str(folder / "server.mjs"),
            NODE_ENV="production",
            REDIS_URL=self.place.redis,
            RUNS=str(self.runs),
            **self.place.database(),
        )

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        return self.events("GET", f"/api/chat/{sent.thread}/stream")

    def kept(self, sent: Sent) -> Kept:
        found = self.rows("SELECT messages, active_stream_id FROM chats WHERE id = %(id)s", sent.thread)
        messages = found[0][0] if found else []
        roles = [message["role"] for message in messages]
        answers = [told(json.dumps(one["parts"])) for one in messages if one["role"] == "assistant"]
        state = "stream said to be live" if found and found[0][1] else "no live stream"
        return Kept(roles.count("user"), answers, state)
