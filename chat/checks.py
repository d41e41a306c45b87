"""What ``manage.py check`` says about the application's configuration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isfinite
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from chat import conf
from chat.agents.defects import agent_problems
from chat.store import jobs
from chat.store.policies import policy_problems
from chat.store.reconcile_runs import why_not
from chat.store.sql import DatabaseError, connection
from chat.turns.prices import wrong_prices


@checks.register("chat")
def check_agent(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    return [
        checks.Error(
            f"The agent cannot answer: {problem}",
            hint="CHAT_AGENT names a class or an object with `async def run(self, turn)`; see docs/agents.md.",
            id="chat.E001",
        )
        for problem in agent_problems()
    ]


@checks.register("chat")
def check_policy(
    app_configs: Sequence[AppConfig] | None, databases: Collection[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    return [
        checks.Error(
            f"CHAT_ACCESS_POLICY = {conf.get('ACCESS_POLICY')!r} cannot be: {problem}",
            hint="It names a class like chat.access.policy.OwnerOnly; see docs/access.md.",
            id="chat.E022",
        )
        for problem in policy_problems(ask=connection().alias in (databases or ()))
    ]


@checks.register("chat")
def check_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    if connection().vendor != "postgresql":
        return [checks.Error("The chat tables need PostgreSQL 15 or newer.", id="chat.E002")]
    pool = connection().settings_dict["OPTIONS"].get("pool")
    most = pool.get("max_size", pool.get("min_size", 4)) if isinstance(pool, dict) else None  # psycopg_pool's default
    if most == 1:
        return [
            checks.Error(
                "A pool of one connection is too small.",
                hint="The writer of the log keeps one as long as a turn is live, and whoever else needs one would wait "
                'for it: OPTIONS["pool"]["max_size"] must be 2 or more.',
                id="chat.E005",
            )
        ]
    return []


@checks.register("chat")
def check_times(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    if settings.USE_TZ:
        return []
    return [
        checks.Error(
            "The times of chat are moments, and USE_TZ is off.",
            hint="PostgreSQL keeps them as timestamptz, and compares them with its clock: USE_TZ must be True, which "
            "is Django's default; TIME_ZONE may be any.",
            id="chat.E006",
        )
    ]


@checks.register("chat")
def check_server(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    if "daphne" in settings.INSTALLED_APPS or getattr(settings, "SERVER", "") == "daphne":
        return [
            checks.Warning(
                "daphne buffers without a bound for a reader that does not read its stream.",
                hint="It tells no application how much it holds. Serve with uvicorn or granian, or let a proxy in "
                "front of it read the streams with a bound of its own; silence this check (chat.W002) when one does.",
                id="chat.W002",
            )
        ]
    return []


# Those whose work the streams do by themselves (host names, session, login, origin), or which have none to do for an
# answer that is no page.
NOT_MISSED = {
    f"django.{name}"
    for name in (
        "middleware.security.SecurityMiddleware",
        "contrib.sessions.middleware.SessionMiddleware",
        "middleware.locale.LocaleMiddleware",
        "middleware.common.CommonMiddleware",
        "middleware.csrf.CsrfViewMiddleware",
        "contrib.auth.middleware.AuthenticationMiddleware",
        "contrib.auth.middleware.LoginRequiredMiddleware",
        "contrib.messages.middleware.MessageMiddleware",
        "middleware.clickjacking.XFrameOptionsMiddleware",
        "middleware.csp.ContentSecurityPolicyMiddleware",
        "middleware.gzip.GZipMiddleware",
        "middleware.http.ConditionalGetMiddleware",
    )
} | {"whitenoise.middleware.WhiteNoiseMiddleware", "csp.middleware.CSPMiddleware"}


@checks.register("chat")
def check_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    missed = [path for path in settings.MIDDLEWARE if path not in NOT_MISSED]
    if not missed:
        return []
    return [
        checks.Info(
            f"The streams and sockets of chat do not pass through {', '.join(missed)}.",
            hint="They stand in front of Django's handler. Who may ask is for CHAT_AUTHENTICATION_CLASSES to say; what "
            "else must happen around them belongs into an ASGI middleware around chat.asgi: see docs/installing.md. "
            "Silence chat.I001 when it is seen to.",
            id="chat.I001",
        )
    ]


@checks.register("chat")
def check_runner(
    app_configs: Sequence[AppConfig] | None, databases: Collection[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """The tables only where the database is asked to be looked at, as in ``check_phase``."""
    name = conf.get("RUNNER")
    if name not in conf.RUNNERS:
        return [checks.Error(f"CHAT_RUNNER = {name!r} is none of {', '.join(conf.RUNNERS)}.", id="chat.E030")]
    if name != "worker":
        return []
    problem = None
    if not jobs.is_installed():
        problem = "Procrastinate is not installed."
    elif not apps.is_installed(jobs.APPLICATION):
        problem = f"{jobs.APPLICATION} is not in INSTALLED_APPS."
    if problem is not None:
        hint = f"Install the extra `worker`, and add {jobs.APPLICATION!r} to INSTALLED_APPS; see docs/workers.md."
        return [checks.Error(f"CHAT_RUNNER = 'worker' cannot be: {problem}", hint=hint, id="chat.E031")]
    if connection().alias in (databases or ()) and not jobs.has_tables():
        # No error: `migrate` looks as well, before it makes them.
        text = "CHAT_RUNNER = 'worker' cannot be yet: Procrastinate's tables are not in the database."
        return [checks.Warning(text, hint="migrate", id="chat.W031")]
    return []


@checks.register("chat")
def check_prices(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    return [
        checks.Error(f"CHAT_PRICES: {problem}", hint="See PRICES in chat/conf.py.", id="chat.E021")
        for problem in wrong_prices(conf.get("PRICES"))
    ]


# With 0 each turn would fail, each reader be dropped, each request fail, or something ask without a pause.
NEVER_ZERO = {
    "LEASE_SECONDS",
    "LISTEN_CHECK_SECONDS",
    "STALL_SECONDS",
    "KEEP_ALIVE_SECONDS",
    "ACCESS_CHECK_SECONDS",
    "SLOW_READER_SECONDS",
    "DB_THREADS",
    "MAX_ANSWER_BYTES",
}


@checks.register("chat")
def check_numbers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    numbers = {name: conf.get(name) for name, default in conf.DEFAULTS.items() if type(default) in (int, float)}
    return [
        checks.Error(
            f"CHAT_{name} = {value!r} is no number {'above 0' if name in NEVER_ZERO else 'of 0 or more'}.",
            hint="See docs/settings.md: where 0 means that there is no bound, it says so.",
            id="chat.E020",
        )
        for name, value in numbers.items()
        if type(value) not in (int, float)
        or not (value > 0 if name in NEVER_ZERO else value >= 0)
        or not isfinite(value)
        or ("QUOTA" in name and type(value) is float)  # counted in whole numbers
    ]


@checks.register("chat")
def check_quotas(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    if path := conf.get("QUOTA_FOR_USER"):
        try:
            if not callable(import_string(path)):
                raise TypeError("it cannot be called")
        except Exception as problem:
            found.append(checks.Error(f"CHAT_QUOTA_FOR_USER = {path!r} is no function: {problem}", id="chat.E020"))
    return found


@checks.register("chat")
def check_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    return [
        checks.Warning(
            f"{name} is no setting of chat.",
            hint="chat/conf.py lists them; a misspelt one has no effect.",
            id="chat.W001",
        )
        for name in dir(settings)
        if name.startswith("CHAT_") and name.removeprefix("CHAT_") not in conf.DEFAULTS
    ]


@checks.register(checks.Tags.database)
def check_version(
    app_configs: Sequence[AppConfig] | None, databases: Collection[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """As ``check_phase``. Django takes PostgreSQL 14 as well, and leaves out what it does not know without a word: the
    key of the search, on which each message's trigger rests.
    """
    if connection().alias not in (databases or ()) or connection().vendor != "postgresql":
        return []
    try:
        version: int = connection().pg_version  # type: ignore[attr-defined]
    except DatabaseError:
        return []  # it is away
    if version >= OLDEST_POSTGRESQL:
        return []
    text = f"The database is PostgreSQL {version // 10_000}, and the chat tables need 15 or newer."
    return [checks.Error(text, id="chat.E002")]


@checks.register(checks.Tags.database)
def check_phase(
    app_configs: Sequence[AppConfig] | None, databases: Collection[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Only where the database is asked to be looked at: by ``check --database``, by ``migrate`` and by ``serve``."""
    if connection().alias not in (databases or ()):
        return []
    try:
        phase = conf.phase()
    except ValueError as problem:
        return [checks.Error(f"COPILOT_MESSAGES_PHASE: {problem}.", hint=PHASES, id="chat.E004")]
    try:
        reason = why_not(phase)
    except DatabaseError:
        return []  # the tables are not there yet, or the database is away: somebody else's to say
    if reason is None:
        return []
    message, hint = reason
    return [checks.Error(f"COPILOT_MESSAGES_PHASE = {phase} cannot be: {message}", hint=hint, id="chat.E003")]


OLDEST_POSTGRESQL = 150_000  # as PostgreSQL numbers its versions
PHASES = "One of " + ", ".join(conf.Phase) + "."
