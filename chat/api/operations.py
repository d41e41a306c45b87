"""Every operation of the API for its schema, by the name of its URL; ``tests/api/test_schema.py`` misses none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from chat.api import shapes
from chat.protocol import copilot, decisions, requests

TEXT: dict[str, Any] = {"type": "string"}
FLAG = {"type": "string", "enum": ["true", "false"]}
CURSOR = {"type": "string", "description": "Where the reader was: <turn>-<chunk>.", "example": "12-40"}
AFTER = {"type": "string", "description": "Taken from the next of a page."}
FILE = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
STREAM = "text/event-stream"


def limit(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most}


@dataclass(frozen=True, slots=True)
class Operation:
    """``answer`` is a shape, the media type of what is no JSON, or None for nothing; ``status`` that of success, and
    ``also`` others. ``body`` is a model, or a JSON schema by media type.
    """

    summary: str
    answer: Any = None
    body: type[BaseModel] | dict[str, Any] | None = None
    query: dict[str, dict[str, Any]] | None = None
    status: int = 200
    also: tuple[int, ...] = ()
    public: bool = False
    deprecated: bool = False


O = Operation  # noqa: E741
DOCUMENT = {"application/json": {"description": "An export of ours, of ChatGPT or of Open WebUI."}}
SHOWN = {"html": FLAG, "versions": FLAG}
LIST = {"limit": limit(200), "after": AFTER}
OPERATIONS: dict[str, dict[str, Operation]] = {
    "chat-send": {
        "post": O(
            "Send a message, ask for another answer or edit; streams the turn. A retry joins the turn there is.",
            STREAM,
            requests.ChatBody,
            also=(403, 404, 409),
        )
    },
    "chat-resume": {
        "get": O("The live turn's stream, or what follows a cursor.", STREAM, query={"after": CURSOR}, also=(204, 410))
    },
    "chat-stop": {"post": O("Ask the live turn to stop.", shapes.Stopped, also=(202, 403))},
    "turn": {"get": O("How a turn stands.", shapes.Turn)},
    "turn-stream": {"get": O("A turn's stream, during or after.", STREAM, query={"after": CURSOR}, also=(410,))},
    "turn-approvals": {
        "post": O("Decide on calls that a turn waits for.", shapes.Turn, decisions.DecisionsBody, also=(403, 409))
    },
    "turn-stop": {"post": O("Stop a turn, or cancel it while it waits.", shapes.Stopped, also=(202, 403))},
    "threads": {
        "get": O(
            "Threads, newest activity first.",
            shapes.Page[shapes.Thread],
            query={
                **LIST,
                "q": {**TEXT, "description": "Part of the title, or words of a message.", "maxLength": 200},
                "archived": {"type": "string", "enum": ["true", "false", "all"]},
                "mine": FLAG,
                "deleted": FLAG,
            },
        ),
        "post": O("Make a thread.", shapes.Thread, requests.ThreadBody, status=201, also=(404,)),
    },
    "thread": {
        "get": O("One thread.", shapes.Thread),
        "patch": O("Rename, archive, change metadata.", shapes.Thread, requests.ThreadBody, also=(403,)),
        "delete": O("Put it into the trash.", status=204, also=(403,)),
    },
    "thread-state": {"get": O("What a page needs on load.", shapes.State, query={"limit": limit(200), **SHOWN})},
    "thread-restore": {"post": O("Take a thread out of the trash.", shapes.Thread)},
    "thread-purge": {"post": O("Delete a thread in the trash for good.", status=204, also=(409,))},
    "thread-fork": {
        "post": O(
            "A new thread with the history up to a message.",
            shapes.Thread,
            requests.ThreadForkBody,
            status=201,
            also=(409,),
        )
    },
    "thread-export": {
        "get": O("One thread.", shapes.Export, query={"format": {"type": "string", "enum": ["json", "markdown"]}})
    },
    "export": {"get": O("All your threads.", shapes.Export)},
    "import": {"post": O("Threads out of an export.", shapes.Imported, DOCUMENT)},
    "messages": {
        "get": O(
            "The current messages, last page first.",
            shapes.Page[shapes.Message],
            query={"limit": limit(200), "before": limit(2**63 - 1), **SHOWN},
        ),
        "post": O(
            "Legacy append, for recovery only.",
            shapes.Message,
            requests.AppendBody,
            status=201,
            also=(200, 403),
            deprecated=True,
        ),
    },
    "message": {"get": O("One message.", shapes.Message, query=SHOWN)},
    "message-versions": {"get": O("All versions of a message.", shapes.Page[shapes.Version])},
    "message-restore": {"post": O("Make a version current again.", shapes.Restored, also=(403, 409))},
    "message-feedback": {
        "put": O("Give an opinion of an answer.", shapes.Feedback, requests.FeedbackBody),
        "delete": O("Take it back.", status=204),
    },
    "thread-feedback": {"get": O("Your opinions of a thread's answers.", shapes.Page[shapes.Feedback])},
    "shares": {
        "get": O("Your links to a thread.", shapes.Page[shapes.Share]),
        "post": O(
            "A link to the thread as it stands.", shapes.NewShare, requests.ShareBody, status=201, also=(403, 409)
        ),
    },
    "share": {"delete": O("Revoke a link.", status=204)},
    "shared": {"get": O("What a link shows, to anybody.", shapes.SharedThread, public=True)},
    "attachments": {
        "post": O("Keep a file.", shapes.Attachment, {"multipart/form-data": FILE}, status=201, also=(409, 415))
    },
    "attachment": {
        "get": O("The file.", "application/octet-stream"),
        "delete": O("Take it away.", status=204),
    },
    "tokens": {
        "get": O("Your bearer tokens.", shapes.Page[shapes.Token]),
        "post": O("A new one, with a session only.", shapes.NewToken, requests.TokenBody, status=201, also=(403, 409)),
    },
    "token": {"delete": O("Revoke a token.", status=204)},
    "search": {
        "get": O(
            "Titles and messages by their words, best first.",
            shapes.Page[shapes.Hit],
            query={"q": {**TEXT, "minLength": 1, "maxLength": 200}, "limit": limit(100), "after": AFTER},
        )
    },
    "usage": {
        "get": O(
            "What your turns have used.",
            shapes.Page[shapes.UsageTotal],
            also=(404,),
            query={
                **dict.fromkeys(("from", "to", "thread", "model", "group", "after", "user"), TEXT),
                "limit": limit(1000),
                "format": {"type": "string", "enum": ["json", "csv"]},
            },
        )
    },
    "copilot-send": {"post": O("Send to a copilot chat; streams the turn.", STREAM, copilot.SendBody, also=(409,))},
    "copilot-resume": {
        "get": O("Its stream.", STREAM, query={"streamId": TEXT, "after": CURSOR}, also=(204, 410)),
    },
    "copilot-stop": {"post": O("Stop its live turn.", shapes.Stopped, copilot.StopBody, also=(202,))},
    "copilot-chats": {
        "get": O("Copilot chats, newest activity first.", shapes.Page[shapes.CopilotChat], query=LIST),
        "post": O("Make one.", shapes.CopilotChat, copilot.ChatSettingsBody, status=201),
    },
    "copilot-chat": {
        "get": O("The chat with its last messages.", shapes.CopilotChat, query={"limit": limit(1000), "before": TEXT}),
        "patch": O("Change it.", shapes.CopilotChat, copilot.ChatSettingsBody),
        "delete": O("Delete it.", status=204),
    },
    "copilot-messages": {
        "post": O("Replace the whole history.", shapes.Saved, copilot.ReplaceBody, also=(409,)),
    },
    "copilot-fork": {
        "post": O("A new chat with the history up to a message.", shapes.CopilotChat, copilot.ForkBody, status=201)
    },
    "copilot-inbox": {"post": O("A turn that nobody reads.", shapes.Turn, copilot.SaidBody, status=202, also=(409,))},
    "copilot-import": {
        "post": O("Another system's chats; superusers.", shapes.MadeChats, copilot.ImportBody, status=201)
    },
}
