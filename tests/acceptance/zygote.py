"""A program that has the application loaded and forks server processes on command: 50 ms each instead of 1.5 s.

``python -m tests.acceptance.zygote SLOTS`` listens on one port a slot and prints them, then obeys lines of JSON:
``["fork", slot, point]`` starts a server on the slot's port and answers with its pid; ``["kill", pid]`` kills it
with SIGKILL, ``["end", pid]`` asks it to go (SIGTERM), both answer when it is gone; ``["wait", pid]`` waits until it
is. ``point`` is empty, or a commit of ``chat.telemetry`` at which the server kills itself the first time it comes
there, e.g. ``"finish:before"``. A port takes connections from the fork on, and refuses them when its server is dead;
it stays reserved.

What is forked is the real server: uvicorn as ``manage.py serve`` starts it, the project's settings, its ASGI
application. The fork comes before any thread or connection exists. With ``CHAT_RUNNER=worker`` it is a pair, the server
and a worker of its own: they are killed and end together, and when one of them kills itself, the other goes with it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def load() -> Callable[[socket.socket], None]:
    """Import all that a server needs; returns what serves on a socket until it is told to end."""
    import uvicorn
    from django.db import connection
    from django.urls import resolve

    from chat.agents.base import load_agent
    from chatproject.asgi import application

    resolve("/api/chat")  # imports every view
    load_agent()
    connection.get_connection_params()  # loads psycopg's adapters; connects to nothing
    config = uvicorn.Config(
        application, lifespan="on", access_log=False, log_level="warning", timeout_graceful_shutdown=5
    )
    config.load()
    config.get_loop_factory()

    def serve(listener: socket.socket) -> None:
        listener.setblocking(False)
        uvicorn.Server(config).run(sockets=[listener])

    return serve


def bound(port: int = 0) -> socket.socket:
    """A socket on a port of loopback, which it shares with others that are made here."""
    sharing = socket.socket()
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sharing.bind(("127.0.0.1", port))
    return sharing


def fork(serve: Callable[[socket.socket], None], port: int, point: str) -> list[int]:
    """The pids of a server, and of its worker, if it has one."""
    from django.conf import settings

    from chat import conf

    assert threading.active_count() == 1, "a fork would copy locks that other threads hold"
    listener = bound(port)
    listener.listen(4096)
    settings.CHAT_WORKER_QUEUE = f"of {port}"
    server = forked(lambda: serve(listener), point)
    listener.close()
    if conf.get("RUNNER") != "worker":
        return [server]
    return [server, forked(run_turns, point, server)]


def forked(work: Callable[[], None], point: str, name: int | None = None) -> int:
    """Fork a process that does this; its sessions in the database have the name of the server that it belongs to."""
    from chat.testing.faults import arm

    if pid := os.fork():
        return pid
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.environ["PGAPPNAME"] = f"server {name or os.getpid()}"
    arm(point and f"{point}#1:kill")
    try:
        work()
    finally:
        os._exit(0)


def run_turns() -> None:
    from django.core.management import call_command

    call_command("run_turns", skip_checks=True)


def first_of(pids: list[int]) -> int:
    """Wait until one of them is gone; its status."""
    while True:
        for pid in pids:
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                pids.remove(pid)
                return status
        time.sleep(0.002)


def main() -> None:
    serve = load()
    reserved = [bound() for _ in range(int(sys.argv[1]))]
    ports = [one.getsockname()[1] for one in reserved]
    children: dict[int, list[int]] = {}
    gc.freeze()

    def say(answer: Any) -> None:
        print(json.dumps(answer), flush=True)

    say(ports)
    try:
        for line in sys.stdin:
            word, *rest = json.loads(line)
            if word == "fork":
                slot, point = rest
                server, *_ = pids = fork(serve, ports[slot], point)
                children[server] = pids
                say(server)
            else:
                pids = children.pop(rest[0])
                if word != "wait":
                    for pid in pids:
                        os.kill(pid, signal.SIGKILL if word == "kill" else signal.SIGTERM)
                status = first_of(pids)
                for pid in pids:
                    if word == "wait":
                        os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                say(status)
    finally:
        for pids in children.values():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
