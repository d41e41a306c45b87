from __future__ import annotations

import math
import os
import sys
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import Tags
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat import conf

DEMO = "demo"
# Connections that wait to be accepted: the servers' own defaults are as low as 50.
BACKLOG = "4096"
# Seconds a server waits for open connections after the turns are drained.
GRACE = "5"


class Command(BaseCommand):
    help = "Serve the project with the ASGI server that SERVER names: uvicorn (default), daphne or granian."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8000"))
        parser.add_argument("--server", choices=sorted(SERVERS), default=getattr(settings, "SERVER", "uvicorn"))
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")
        parser.add_argument(
            "--demo",
            nargs="?",
            const="embedded",
            choices=["embedded", "anywhere"],
            help="make the account demo / demo: with DEBUG, and unless told otherwise in the embedded database only",
        )

    def handle(
        self, *args: Any, host: str, port: int, server: str, migrate: bool, demo: str | None, **options: Any
    ) -> None:
        if server not in SERVERS:  # out of the settings, which the parser does not look at
            raise CommandError(f"SERVER is {server!r}, and must be one of {', '.join(sorted(SERVERS))}.")
        application = served_application()
        if demo:
            require_demo_place(anywhere=demo == "anywhere")
        if migrate:
            call_command("migrate", verbosity=options["verbosity"], interactive=False)
        self.check(tags=[Tags.database], databases=list(settings.DATABASES))  # the phase that the database allows
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        self.stdout.write(self.style.SUCCESS(f"\n  {address}"))
        if demo:
            make_demo_account()
            self.stdout.write(f"  log in as {DEMO} / {DEMO}; the admin is at {address}admin/")
        if not settings.DEBUG and (place := getattr(settings, "EMBEDDED_POSTGRES", None)):
            self.stdout.write(self.style.WARNING(f"  DATABASE_URL names no database: all is kept in {place}"))
        if conf.get("RUNNER") == "worker":
            self.stdout.write("  turns are run by workers: start `manage.py run_turns` beside it")
        self.stdout.write("")
        self.stdout.flush()
        command = SERVERS[server](host, port, application)
        # The server takes this process over, and with it the hold on an embedded database.
        os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606


def served_application() -> str:
    """What ASGI_APPLICATION names, as servers want it: the module, a colon and the name in it. Raises CommandError."""
    module, _, name = str(getattr(settings, "ASGI_APPLICATION", "")).rpartition(".")
    if not module:
        raise CommandError(
            'ASGI_APPLICATION says what is served, and is not set: ASGI_APPLICATION = "mysite.asgi.application", see '
            "docs/installing.md."
        )
    return f"{module}:{name}"


def require_demo_place(*, anywhere: bool) -> None:
    """Raises CommandError where a superuser whose password everybody knows is too much: without DEBUG, and, unless
    ``anywhere``, in any database but the embedded one. The account stays in it, whatever DEBUG is later.
    """
    if not settings.DEBUG:
        raise CommandError("--demo makes an account that everybody knows; it needs DEBUG.")
    if not (anywhere or getattr(settings, "EMBEDDED_POSTGRES", None)):
        raise CommandError(
            "--demo makes a superuser whose password everybody knows, and this is not the embedded database. Nothing "
            "was changed. `manage.py serve --migrate` serves it without that account (`manage.py createsuperuser` "
            "makes yours); where nobody else reaches it: --demo anywhere, or `make run DEMO=anywhere`."
        )


def make_demo_account() -> None:
    """The account demo / demo, a superuser, where there is none of that name: only behind ``require_demo_place``."""
    users = get_user_model().objects
    if not users.filter(username=DEMO).exists():
        users.create_superuser(DEMO, "demo@example.org", DEMO)


def _uvicorn(host: str, port: int, application: str) -> list[str]:
    options = ["--host", host, "--port", str(port), "--backlog", BACKLOG, "--timeout-graceful-shutdown", GRACE]
    return ["uvicorn", application, *options, "--lifespan", "on", "--no-access-log", "--log-level", "warning"]


def _daphne(host: str, port: int, application: str) -> list[str]:
    interface = host.replace(":", r"\:")
    return ["daphne", "-v", "0", "-e", f"tcp:{port}:interface={interface}:backlog={BACKLOG}", application]


def _granian(host: str, port: int, application: str) -> list[str]:
    # Its worker would wait for ever for a reader that does not read; this counts from the signal, the drain included.
    patience = str(math.ceil(conf.get("DRAIN_SECONDS")) + int(GRACE))
    options = ["--host", host, "--port", str(port), "--backlog", BACKLOG, "--workers-kill-timeout", patience]
    return ["granian", "--interface", "asgi", "--log-level", "warning", *options, application]


SERVERS = {"uvicorn": _uvicorn, "daphne": _daphne, "granian": _granian}
