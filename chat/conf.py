"""The application's settings: their names, defaults and meaning.

Each is read from Django's settings under ``CHAT_<NAME>`` when it is first used, and again after every override that
Django tells of (``override_settings`` does).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

# Of libpq: how soon a connection learns that the other end is gone without a word. Half a minute, not TCP's quarter of
# an hour, or two hours where nothing was sent. The listener has them in any case, the others where ``OPTIONS`` does.
VANISHED: dict[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

DEFAULTS: dict[str, Any] = {
    # Dotted path of the object that answers: see chat/agents/base.py. Empty: chat.agents.pydantic_ai where one of the
    # next two is set, else the demo agent.
    "AGENT": "",
    # Who runs turns: "process", the one that takes the send; "worker", processes of their own (``run_turns``), which a
    # deploy of the web servers does not touch. See docs/workers.md.
    "RUNNER": "process",
    # The queue of their jobs: workers run the turns of the web servers that name the same one.
    "WORKER_QUEUE": "chat",
    # Dotted path of the class that says who sees and who writes which thread: see chat/access/policy.py.
    "ACCESS_POLICY": "chat.access.policy.OwnerOnly",
    # What chat.agents.pydantic_ai drives: dotted path of a Pydantic AI agent, or of a function that makes one. Empty: a
    # plain one with CHAT_MODEL and CHAT_INSTRUCTIONS.
    "PYDANTIC_AGENT": "",
    # The model of a turn for which nobody chose one, as Pydantic AI names it: "openai:gpt-5". With OPENAI_BASE_URL in
    # the environment "openai:" is any server that speaks OpenAI's chat completions.
    "MODEL": "",
    # What that model is told beforehand.
    "INSTRUCTIONS": "",
    # Other models that a client may choose, per send or per thread; "*" for any: then the agent decides.
    "MODELS": [],
    # Who may ask: Django REST framework's authenticators, by dotted path, for the views, the streams and the sockets.
    "AUTHENTICATION_CLASSES": [
        "chat.access.authentication.SessionOrOrigin",
        "chat.access.authentication.Bearer",
    ],
    # Largest request body, in bytes; checked before anything is parsed.
    "MAX_BODY_BYTES": 16 * 1024 * 1024,
    # Longest text of one user message, in characters.
    "MAX_MESSAGE_CHARS": 200_000,
    # Bytes of an answer's chunks, as JSON; a turn that tells more fails with ``answer_too_long``. PostgreSQL takes no
    # message of more than 256 MB.
    "MAX_ANSWER_BYTES": 64 * 1024 * 1024,
    # Most messages handed to the model as history, newest kept.
    "HISTORY_MESSAGES": 200,
    # Most characters of it (about four a token), newest kept; a tool call stays with its result. 0: no bound.
    "HISTORY_CHARS": 400_000,
    # When a reader sees a chunk. "sync": when it is committed, nothing shown is ever lost. "async": at once, it is
    # committed within the gap; a crash loses what was shown in that time. "exit": at once, and only the end of the
    # turn is stored; a crash loses the turn's answer.
    "DURABILITY": "sync",
    # Seconds between two commits of the log: with few turns the shortest, with many up to the longest.
    "SHORTEST_COMMIT_GAP": 0.005,
    "COMMIT_GAP": 0.02,
    # Seconds without a heartbeat after which a turn's process is taken for gone; renewed three times in it.
    "LEASE_SECONDS": 30.0,
    # Days after which ``purge_threads`` deletes for good what was deleted, and threads in which nothing has happened
    # (whether deleted or not). 0: never.
    "KEEP_DELETED_DAYS": 30,
    "KEEP_THREADS_DAYS": 0,
    # Uploaded files: the alias in STORAGES that keeps them, the types that are taken (by their bytes), the largest one,
    # and how many, and how many bytes, one user may keep; then how many bytes of them a model is told a turn.
    "ATTACHMENT_STORAGE": "default",
    "ATTACHMENT_TYPES": ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/plain"],
    "ATTACHMENT_BYTES": 20 * 1024 * 1024,
    "ATTACHMENTS_OF_USER": 1_000,
    "ATTACHMENT_BYTES_OF_USER": 1024 * 1024 * 1024,
    "ATTACHMENT_MODEL_BYTES": 20 * 1024 * 1024,
    # Days for which a link to a thread is good where its maker says nothing, and at most. 0: until it is revoked.
    "SHARE_DAYS": 30,
    "SHARE_MOST_DAYS": 0,
    # Links that are good which one user may have: each keeps a copy of its thread. 0: nobody makes any.
    "SHARES_OF_USER": 100,
    # Bearer tokens that one user may have.
    "TOKENS_OF_USER": 50,
    # Seconds for which the log of an ended turn is kept; a replay is made from its parts then.
    "LOG_RETENTION_SECONDS": 24 * 3600.0,
    # libpq URL for LISTEN, where the usual connections go through a pooler that cannot; empty: like all others.
    "LISTEN_URL": "",
    # Seconds after which streams that run elsewhere are read without having been told.
    "LISTEN_CHECK_SECONDS": 5.0,
    # Bytes of chunks that wait for a commit before the agents have to wait, too.
    "PENDING_BYTES": 16 * 1024 * 1024,
    # Requests (and handshakes and frames of sockets) that one user may make a minute, and those of nobody's from one
    # address; in each process. 0: no bound. Where nobody's are too many, a token or session from there that was not
    # good in this process before is not looked at.
    "REQUESTS_A_MINUTE": 0,
    "STRANGERS_A_MINUTE": 300,
    # Logins that may fail a minute, in each process: under one name from one address, and under all names from there,
    # which a whole office may share. Then no password is looked at until some seconds have passed. 0: no bound.
    "LOGINS_A_MINUTE": 10,
    "LOGINS_OF_ADDRESS_A_MINUTE": 100,
    # Turns that one process runs at once; beyond it a send is refused with 503.
    "MAX_LIVE_TURNS": 500,
    # Turns that may wait in one thread for the busy one to end (``on_busy: enqueue``).
    "MAX_QUEUED_TURNS": 20,
    # Seconds without a chunk after which an agent is taken for stuck, and its turn fails.
    "STALL_SECONDS": 300.0,
    # Seconds that an agent gets to make a title for a new thread, which else keeps the beginning of its first message.
    "TITLE_SECONDS": 30.0,
    # Seconds for which a turn waits for a person to approve a tool call, or for a client to run one; then it is
    # stopped. 0: for ever.
    "APPROVAL_SECONDS": 24 * 3600.0,
    # Seconds between comment lines on an idle stream, so that proxies keep it open.
    "KEEP_ALIVE_SECONDS": 15.0,
    # Seconds after which the reader of an open stream is shut out at the latest who has logged out or lost the thread.
    "ACCESS_CHECK_SECONDS": 5.0,
    # Seconds in which a reader must take a piece (16 KiB) of its stream; else its connection ends, and it may resume.
    "SLOW_READER_SECONDS": 30.0,
    # Seconds that an ended turn's chunks stay in memory for readers that come late.
    "STREAM_LINGER_SECONDS": 30.0,
    # Threads in which the streaming endpoints and the runs talk to the database.
    "DB_THREADS": 8,
    # Seconds for which a run waits for a database that is away: at its beginning, before the turn fails, and at its
    # end, before the turn is left to whoever finds its lease run out.
    "DATABASE_PATIENCE_SECONDS": 30.0,
    # Seconds that live turns get to end by themselves when the process is told to stop.
    "DRAIN_SECONDS": 5.0,
    # Whether ``migrate`` fills the mirror of the copilot chats and the search; False leaves it to
    # ``reconcile_messages`` and ``index_search``, which show their progress and can be interrupted: for tables that
    # take long (docs/migrating-from-jsonb.md says how long).
    "BACKFILL_IN_MIGRATION": True,
    # What models cost that the list of genai-prices does not know, or knows another price for: US dollars for a million
    # tokens, by model or by "provider:model", as in
    # {"openai:gpt-4o": {"input": 2.5, "output": 10, "cache_read": 1.25, "cache_write": 2.5}}. What is read from or
    # written to a provider's cache costs what input does where its price is left out.
    "PRICES": {},
    # What one user may use, 0: no limit. Tokens from midnight to midnight, UTC; turns begun in any minute; turns that
    # run at once, in all conversations. A send beyond it is refused with 429; a queued turn waits.
    "QUOTA_TOKENS_A_DAY": 0,
    "QUOTA_TURNS_A_MINUTE": 0,
    "QUOTA_LIVE_TURNS": 0,
    # Tokens that a live turn counts as, until its end tells how many it took.
    "QUOTA_TOKENS_RESERVED": 4_000,
    # Dotted path of a function that gives a user other limits: called with the user's primary key and the Limits above
    # (chat/store/quotas.py), in a thread, for each turn that begins; returns Limits, as by ``dataclasses.replace``.
    "QUOTA_FOR_USER": "",
}


# What CHAT_RUNNER may be.
RUNNERS = ("process", "worker")


class Phase(StrEnum):
    """COPILOT_MESSAGES_PHASE: where the roll-out of the mirror is. One step at a time, in either direction."""

    JSONB = "jsonb"  # no mirror
    DUAL = "dual"  # the array is the truth, the mirror follows as well as it can
    MIRROR_READS = "mirror_reads"  # reads come from the mirror, its write fails the request
    MIRROR_ONLY = "mirror_only"  # the array is no longer written


def phase() -> Phase:
    """The phase this process is in; ``dual`` where COPILOT_MESSAGES_PHASE is not set. Raises ValueError."""
    return Phase(getattr(settings, "COPILOT_MESSAGES_PHASE", Phase.DUAL))


def reads_mirror() -> bool:
    """Whether what is read of a copilot chat comes from its mirror."""
    return phase() in (Phase.MIRROR_READS, Phase.MIRROR_ONLY)


# What was asked for so far. Some are asked for with every token, and Django takes two microseconds to say that a
# setting is not there: a fifth of the CPU of a process full of turns.
_asked: dict[str, Any] = {}


def usual_share_days() -> int:
    """The days for which a link is good where its maker says nothing: what is set as usual, and no more than may be. 0:
    until it is revoked.
    """
    usual, most = get("SHARE_DAYS"), get("SHARE_MOST_DAYS")
    days: int = min(usual or most, most or usual)
    return days


def get(name: str) -> Any:
    """The value of ``CHAT_<name>``; KeyError for a name that is not in ``DEFAULTS``."""
    try:
        return _asked[name]
    except KeyError:
        value = _asked[name] = getattr(settings, f"CHAT_{name}", DEFAULTS[name])
        return value


def _forget(*, setting: str, **signal: Any) -> None:
    _asked.pop(setting.removeprefix("CHAT_"), None)


setting_changed.connect(_forget, dispatch_uid="chat.conf")
