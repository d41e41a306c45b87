"""What the documentation says of settings and endpoints, made from the code: ``manage.py chat_reference``."""

from __future__ import annotations

import ast
import inspect
import tokenize
from collections.abc import Iterator
from io import StringIO
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from chat import conf

SETTINGS = """# Settings

Made by `python manage.py chat_reference settings` from `chat/conf.py`; a test holds the two together. Each is read
from Django's settings as `CHAT_<NAME>`; the demo project takes each of them from the environment as well.
`manage.py check` names a `CHAT_` setting that is none (`chat.W001`).

One has no prefix: `COPILOT_MESSAGES_PHASE` ({phases}; the second where it is
not set) says where the roll-out of the copilot chats' mirror is:
[migrating-from-jsonb.md](migrating-from-jsonb.md).

| setting | default | meaning |
|---|---|---|
"""
HTTP = """# HTTP

Made by `python manage.py chat_reference http` from the OpenAPI schema, which has bodies and answers as well:
`/api/schema/`, and `/api/docs/` to read it and try it. Paths stand behind the prefix under which `chat.urls` is
included (none here). The sockets are in [websocket.md](websocket.md), errors and their codes in the
[README](../README.md#the-api).

Who asks is told by a session or by `Authorization: Bearer <token>`. An unsafe request of a session needs a CSRF token
or, as JSON, an `Origin` of this host. Lists answer `{{"results", "next", "previous"}}`; `next` is the address of the
next page.

{tables}"""


def settings_page() -> str:
    """docs/settings.md: one row for each setting, several where one comment speaks of several."""
    rows = []
    for names, meaning in _explained():
        told = "<br>".join(f"`CHAT_{name}`" for name in names)
        defaults = "<br>".join(f"`{_literal(conf.DEFAULTS[name])}`" for name in names)
        rows.append(f"| {told} | {defaults} | {meaning.replace('|', chr(92) + '|')} |")
    return SETTINGS.format(phases=", ".join(f"`{phase}`" for phase in conf.Phase)) + "\n".join(rows) + "\n"


def http_page() -> str:
    """docs/http.md: every operation with what it takes in its query and how it answers."""
    generator: Any = SchemaGenerator
    paths: dict[str, dict[str, Any]] = generator().get_schema(request=None, public=True)["paths"]
    groups: dict[str, list[str]] = {}
    for path, operations in sorted(paths.items()):
        group = path.removeprefix("/api/").split("/")[0]
        for method, operation in operations.items():
            query = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
            asked = f" Query: {', '.join(f'`{name}`' for name in query)}." if query else ""
            deprecated = " Deprecated." if operation.get("deprecated") else ""
            answers = ", ".join(operation["responses"])
            row = f"| {method.upper()} `{path}` | {operation['summary']}{asked}{deprecated} | {answers} |"
            groups.setdefault(group, []).append(row)
    head = "| request | what | answers |\n|---|---|---|\n"
    return HTTP.format(tables="\n\n".join(f"## {name}\n\n{head}" + "\n".join(groups[name]) for name in groups) + "\n")


def _literal(value: Any) -> str:
    return str([]) if value == [] else repr(value)


def _explained() -> Iterator[tuple[list[str], str]]:
    """The names that stand under each comment of ``conf.DEFAULTS``, with the comment. A name without one of its own
    belongs to the one above.
    """
    source = inspect.getsource(conf)
    (defaults,) = (
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign)
        and ast.unparse(node.target) == "DEFAULTS"
        and isinstance(node.value, ast.Dict)
    )
    at = {key.lineno: str(ast.literal_eval(key)) for key in defaults.keys if key is not None}
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    names: list[str] = []
    words: list[str] = []
    for line in range(defaults.lineno, (defaults.end_lineno or 0) + 1):
        if line in comments:
            if names:
                yield names, " ".join(words)
                names, words = [], []
            words.append(comments[line])
        elif line in at:
            names.append(at[line])
    yield names, " ".join(words)
