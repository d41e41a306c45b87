"""A browser without a screen: unmodified chats of the AI SDK, driven step by step against a running server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from chat.protocol.chunks import Part
from tests.clients.oracle import HERE, installed

#: By the names of package.json: the newest of each major, and of 5 and 6 one that refuses what it does not know.
VERSIONS = ("ai-5", "ai-5-newest", "ai-6-strict", "ai-6", "ai-7")
#: The others put the replay behind the parts there are when the same chat resumes: for them it takes a fresh one.
RESUMES_IN_PLACE = ("ai-6", "ai-7")


class Page:
    """One chat in the browser. Its properties are as of the last step."""

    def __init__(self, browser: Browser, number: int) -> None:
        self._browser, self._number = browser, number
        self._told: dict[str, Any] = {}

    def step(self, do: str, **keys: Any) -> None:
        told = self._browser.ask({"page": self._number, "do": do, **keys})
        assert "problem" not in told, told
        self._told = told

    def call(self, method: str, *args: Any) -> None:
        """Begin a call of the SDK's chat."""
        self.step("call", method=method, args=args)

    def done(self, method: str, *args: Any) -> None:
        """Call the chat, and wait until everything has come back that was called."""
        self.call(method, *args)
        self.settle()

    def send(self, text: str, **keys: Any) -> None:
        self.done("sendMessage", {"text": text, **keys})

    def begin(self, text: str, until: str) -> None:
        """Send a message and wait for these words of the answer."""
        self.call("sendMessage", {"text": text})
        self.step("until", text=until)

    def settle(self) -> None:
        self.step("until", settled=True)

    def cut(self) -> None:
        """The network breaks, in the middle of whatever is on its way."""
        self.step("cut")
        self.settle()

    @property
    def status(self) -> str:
        return str(self._told["status"])

    @property
    def error(self) -> str | None:
        error: str | None = self._told["error"]
        return error

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self._told["messages"]
        return messages

    @property
    def parts(self) -> list[Part]:
        """Of the last message."""
        parts: list[Part] = self.messages[-1]["parts"]
        return parts

    @property
    def requests(self) -> list[tuple[str, int]]:
        """Method and status of all requests of the page; 0 where no answer came."""
        return [(request["method"], request["status"]) for request in self._told["requests"]]


class Browser:
    """One Node process: a browser with a session of somebody who is logged in."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._numbers = count(1)

    def page(self, version: str, thread: str, **keys: Any) -> Page:
        """Open a page: ``messages`` it begins with, ``sendAutomaticallyWhen`` by its name in the SDK."""
        page = Page(self, next(self._numbers))
        page.step("open", version=version, id=thread, **keys)
        return page

    def ask(self, step: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"node died with {self._process.wait()}"
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def browser(origin: str, cookie: str) -> Iterator[Browser]:
    """A browser whose pages come from ``origin``."""
    command = [installed(), "drive.mjs", origin, cookie]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Browser(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
