"""Files as other systems export them, small but of their real shape."""

from __future__ import annotations

from typing import Any

PNG = "data:image/png;base64,iVBORw0KGgo="


def node(key: str, parent: str | None, message: Any = None, children: list[str] | None = None) -> dict[str, Any]:
    return {"id": key, "message": message, "parent": parent, "children": children or []}


def said(
    key: str,
    role: str,
    content: dict[str, Any],
    *,
    at: float = 1_700_000_000.25,
    recipient: str = "all",
    **metadata: Any,
) -> dict[str, Any]:
    name = metadata.pop("name", None)
    return {
        "id": key,
        "author": {"role": role, "name": name, "metadata": {}},
        "create_time": at,
        "update_time": None,
        "content": content,
        "status": "finished_successfully",
        "end_turn": None,
        "weight": 1.0,
        "metadata": metadata,
        "recipient": recipient,
        "channel": None,
    }


def text(words: str) -> dict[str, Any]:
    return {"content_type": "text", "parts": [words]}


def chatgpt() -> list[dict[str, Any]]:
    """One conversation: a hidden system message, a picture, an answer with thoughts and a tool, a second version of it,
    an edited question behind the first; the second version is current.
    """
    picture = {
        "content_type": "image_asset_pointer",
        "asset_pointer": "file-service://file-1",
        "width": 10,
        "height": 20,
    }
    nodes = [
        node("root", None),
        node("system", "root", said("system", "system", text(""), is_visually_hidden_from_conversation=True)),
        node(
            "custom",
            "system",
            said("custom", "user", {"content_type": "user_editable_context", "user_profile": "Likes tea."}),
        ),
        node(
            "q1", "custom", said("q1", "user", {"content_type": "multimodal_text", "parts": [picture, "What is it?"]})
        ),
        node(
            "t1",
            "q1",
            said(
                "t1", "assistant", {"content_type": "thoughts", "thoughts": [{"summary": "Look", "content": "A cat?"}]}
            ),
        ),
        node(
            "c1",
            "t1",
            said("c1", "assistant", {"content_type": "code", "language": "python", "text": "1+1"}, recipient="python"),
        ),
        node("o1", "c1", said("o1", "tool", {"content_type": "execution_output", "text": "2"}, name="python")),
        node("a1", "o1", said("a1", "assistant", text("A cat."), model_slug="gpt-4o")),
        node("q2", "a1", said("q2", "user", text("Sure?"))),
        node("a3", "q2", said("a3", "assistant", text("Yes."), model_slug="gpt-4o")),
        node("a2", "q1", said("a2", "assistant", text("A dog.\x00 \ud83d"), model_slug="o3", at=1_700_000_100)),
    ]
    return [
        {
            "title": "What  is it",
            "create_time": 1_700_000_000.0,
            "update_time": 1_700_000_200.0,
            "mapping": {one["id"]: one for one in nodes},
            "current_node": "a2",
            "conversation_id": "6565-abc",
            "is_archived": True,
            "default_model_slug": "gpt-4o",
        }
    ]


TOOL = (
    '<details type="tool_calls" done="true" id="call_1" name="search" arguments="&quot;{\\&quot;q\\&quot;: 1}&quot;"'
    ' result="&quot;[\\&quot;hit\\&quot;]&quot;" files="">\n<summary>Tool Executed</summary>\n</details>\n'
)
THOUGHT = (
    '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n'
    "&gt; Hm.\n&gt; So &lt;it&gt; is.\n</details>\n"
)


def open_webui() -> list[dict[str, Any]]:
    """One chat whose question was answered by two models."""
    messages = [
        {
            "id": "m1",
            "parentId": None,
            "childrenIds": ["m2", "m3"],
            "role": "user",
            "content": "Hello",
            "timestamp": 1_700_000_000,
            "models": ["llama3", "qwen3"],
            "files": [
                {"type": "image", "url": PNG},
                {"type": "file", "id": "f1", "name": "notes.txt", "url": "/api/v1/files/f1"},
                {"type": "collection", "id": "c1", "name": "Docs"},
            ],
        },
        {
            "id": "m2",
            "parentId": "m1",
            "childrenIds": [],
            "role": "assistant",
            "content": THOUGHT + TOOL + "Hi!\n\n<details><summary>Mine</summary>stays</details>",
            "model": "llama3",
            "timestamp": 1_700_000_001,
            "done": True,
            "sources": [{"source": {"name": "a"}}],
        },
        {
            "id": "m3",
            "parentId": "m1",
            "childrenIds": [],
            "role": "assistant",
            "content": "Hey!",
            "model": "qwen3",
            "timestamp": 1_700_000_002_000,
        },
    ]
    return [
        {
            "id": "w-1",
            "user_id": "u",
            "title": "Greeting",
            "chat": {
                "title": "Greeting",
                "models": ["llama3"],
                "history": {"messages": {one["id"]: one for one in messages}, "currentId": "m2"},
                "messages": [],
                "tags": ["a", 1],
                "timestamp": 1_700_000_000_000 / 1000,
            },
            "created_at": 1_700_000_000,
            "updated_at": 1_700_000_009,
            "archived": False,
            "pinned": False,
            "meta": {},
        }
    ]
