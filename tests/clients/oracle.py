"""The AI SDK's clients from npm, asked what they make of a stream.

``npm_clients`` is the fixture. Without Node.js, or without the packages and no way to get them, it skips on a
laptop and fails where ``CI`` is set.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chat.protocol.chunks import NEEDS_V6, Chunk, Part
from chat.protocol.sse import DONE, encode, frame
from tests.conftest import needed

HERE = Path(__file__).parent
VERSIONS = ("ai-5", "ai-6-strict", "ai-6", "ai-7")
#: These do not keep the ``id`` of a reasoning part.
WITHOUT_REASONING_ID = ("ai-5", "ai-6-strict")


@dataclass(frozen=True)
class Verdict:
    """What one client made of one stream."""

    id: str | None
    parts: list[Part]
    metadata: dict[str, Any] | None
    errors: list[str]
    history: str | None


class NpmClients:
    """One Node process with all four clients, asked stream by stream."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self, stream: bytes, parts: list[Part] | None = None) -> dict[str, Verdict]:
        """Each client's verdict on the bytes of a response; and on ``parts`` as a message of the history."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"stream": stream.decode(), "parts": parts}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"node died with {self._process.wait()}"
        return {version: Verdict(**verdict) for version, verdict in json.loads(answer).items()}

    def agree(
        self,
        chunks: list[Chunk],
        parts: list[Part],
        *,
        metadata: dict[str, Any] | None = None,
        errors: list[str] | None = None,
    ) -> None:
        """Assert that all clients that can read this log fold it to ``parts``, and take those as history."""
        stream = b"".join(frame(encode(chunk), f"1-{seq}") for seq, chunk in enumerate(chunks, 1)) + DONE
        needs_v6 = any(chunk["type"] in NEEDS_V6 for chunk in chunks)
        for version, verdict in self.read(stream, parts).items():
            if needs_v6 and version == "ai-5":
                continue
            assert verdict.errors == (errors or []), version
            assert without_decisions(verdict.parts) == expected(parts, version), version
            assert verdict.history is None, version
            if metadata is not None:
                assert (verdict.metadata or {}) == metadata, version


def expected(parts: list[Part], version: str) -> list[Part]:
    """``parts`` as that client can know them."""
    parts = without_decisions(parts)
    if version in WITHOUT_REASONING_ID:
        parts = [
            {key: value for key, value in part.items() if (part["type"], key) != ("reasoning", "id")} for part in parts
        ]
    return parts


def without_decisions(parts: list[Part]) -> list[Part]:
    """No wire before 7's carries what a person decided about an approval (P3); we store what is implied."""
    return [{**part, "approval": {"id": part["approval"]["id"]}} if "approval" in part else part for part in parts]


def installed() -> str:
    """The path of Node.js, with the packages of ``package.json`` beside this file installed."""
    node = needed("node", "the AI SDK clients cannot run")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    if not all((HERE / "node_modules" / name).is_dir() for name in wanted):
        command = [needed("npm", "the AI SDK clients cannot be installed"), "ci"]
        command += ["--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=110)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"npm ci failed: {error}")
    return node


@pytest.fixture(scope="session")
def npm_clients() -> Iterator[NpmClients]:
    """The four clients, in a process that lives as long as the tests."""
    node = installed()
    with subprocess.Popen(
        [node, "fold.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield NpmClients(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
