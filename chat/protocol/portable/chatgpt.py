"""``conversations.json`` as ChatGPT exports it: each conversation a ``mapping`` of nodes, ``current_node`` its end.

What one answer took (thoughts, calls of tools, their output, the text) are nodes in a row there, and the parts of one
message here. Nodes that nobody sees there are left out. Pictures and files are only named in such a file: they become
data parts that hold what it says of them.
"""

from __future__ import annotations

from typing import Any

from chat.errors import InvalidInput
from chat.protocol.portable.conversation import Conversation, Said, an_object, moment, ordered, repaired, short, some

# What is a setting of the account and not said by anybody.
UNSAID = ("user_editable_context", "model_editable_context", "reasoning_recap")


def is_chatgpt(document: Any) -> bool:
    return isinstance(document, list) and any(isinstance(one, dict) and "mapping" in one for one in document)


def conversation(value: Any, at: str) -> Conversation:
    """A conversation of the export. Raises InvalidInput with the path of what is wrong."""
    found = an_object(value, at)
    name = short(found.get("conversation_id") or found.get("id"), 110)
    if not name:
        raise InvalidInput(f"{at}.id", "A conversation needs its id.")
    nodes = _nodes(found.get("mapping"), f"{at}.mapping")
    tree = _Tree(nodes)
    last = found.get("current_node")
    messages = ordered(tree.messages.values(), tree.place.get(last) if isinstance(last, str) else None, f"{at}.mapping")
    for message in messages:
        message.parts = repaired(message.parts, message.key)
    created = moment(found.get("create_time"), f"{at}.create_time")
    updated = moment(found.get("update_time"), f"{at}.update_time")
    return Conversation(
        name=f"chatgpt:{name}",
        title=short(found.get("title"), 200),
        messages=messages,
        created_at=created,
        updated_at=updated,
        archived_at=updated or created if found.get("is_archived") is True else None,
        metadata={"imported_from": "chatgpt"},
        left_out=tree.left_out,
    )


class _Node:
    """A node that holds something, with its nearest ancestor that does."""

    def __init__(self, key: str, parent: str | None, message: dict[str, Any], at: str) -> None:
        self.key, self.parent, self.at = key, parent, at
        author = an_object(message.get("author"), f"{at}.author")
        self.role = author.get("role")
        if not isinstance(self.role, str):
            raise InvalidInput(f"{at}.author.role", "A message needs the role of its author.")
        self.name = short(author.get("name"))
        self.content = an_object(message.get("content") or {}, f"{at}.content")
        self.metadata = message.get("metadata") if isinstance(message.get("metadata"), dict) else {}
        self.recipient = short(message.get("recipient")) or "all"
        self.created_at = moment(message.get("create_time"), f"{at}.create_time")

    @property
    def unseen(self) -> bool:
        hidden = bool(self.metadata and self.metadata.get("is_visually_hidden_from_conversation"))
        return hidden or self.role == "system" or self.content.get("content_type") in UNSAID


def _nodes(value: Any, at: str) -> list[_Node]:
    """The nodes that hold a message, parents first."""
    mapping = an_object(value, at)
    children: dict[str | None, list[str]] = {}
    for key, node in mapping.items():
        parent = an_object(node, f"{at}.{key[:64]}").get("parent")
        if not isinstance(parent, str | None):
            raise InvalidInput(f"{at}.{key[:64]}.parent", "Must be the id of a node.")
        children.setdefault(parent if parent in mapping else None, []).append(key)
    found, reached = [], 0
    waiting: list[tuple[str, str | None]] = [(key, None) for key in reversed(children.get(None, []))]
    while waiting:
        key, parent = waiting.pop()
        reached += 1
        message, here = mapping[key].get("message"), f"{at}.{key[:64]}.message"
        if message is not None:
            found.append(_Node(key, parent, an_object(message, here), here))
            parent = key
        # In the order in which they came about: the first one is the first version.
        waiting.extend((child, parent) for child in reversed(children.get(key, [])))
    if reached != len(mapping):
        raise InvalidInput(at, "The nodes follow each other in a circle.")
    return found


class _Tree:
    """Nodes put together into messages. ``place`` says in which message a node has come to stand."""

    def __init__(self, nodes: list[_Node]) -> None:
        self.messages: dict[str, Said] = {}
        self.place: dict[str, str | None] = {}
        self.left_out = 0
        # The calls of an answer that wait for what their tool gives, by the tool's name, the last one last.
        self._open: dict[tuple[str, str], list[dict[str, Any]]] = {}
        several: dict[str | None, int] = {}
        for node in nodes:
            several[node.parent] = several.get(node.parent, 0) + 1
        for node in nodes:
            before = self.place.get(node.parent) if node.parent else None
            parts = [] if node.unseen else _parts(node)
            self.left_out += node.unseen and _holds(node.content)
            if not parts:
                self.place[node.key] = before
                continue
            answer = self.messages[before] if before else None
            if node.role != "user" and answer and answer.role == "assistant" and several[node.parent] == 1:
                self._add(answer, node, parts)
                self.place[node.key] = before
            else:
                self.messages[node.key] = Said(
                    key=node.key,
                    parent=before,
                    role="user" if node.role == "user" else "assistant",
                    parts=[],
                    created_at=node.created_at,
                    client_id=short(node.key) or None,
                )
                self._add(self.messages[node.key], node, parts)
                self.place[node.key] = node.key

    def _add(self, message: Said, node: _Node, parts: list[dict[str, Any]]) -> None:
        model = short(node.metadata.get("model_slug"), 200) if node.metadata else ""
        if model and message.role == "assistant":
            message.model = model
            message.metadata = {"model": model}
        if node.role == "tool" and (calls := self._open.get((message.key, node.name))):
            # What the tool gave, in the place of its call.
            calls.pop().update(state="output-available", output=_output(parts))
            return
        message.parts.extend(parts)
        for part in parts:
            if part.get("state") == "input-available":
                self._open.setdefault((message.key, part["toolName"]), []).append(part)


def _output(parts: list[dict[str, Any]]) -> Any:
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return {"text": "\n".join(texts)} if len(texts) == len(parts) else {"parts": parts}


def _holds(content: dict[str, Any]) -> bool:
    return any(_pieces(content)) or any(content.get(name) for name in ("text", "thoughts", "content", "user_profile"))


def _parts(node: _Node) -> list[dict[str, Any]]:
    content = node.content
    kind = content.get("content_type")
    if node.role == "assistant" and node.recipient != "all":
        said = content.get("text") if kind == "code" else _joined(content)
        call = {"type": "dynamic-tool", "toolName": node.recipient, "toolCallId": short(node.key) or "call"}
        return [{**call, "state": "input-available", "input": {"text": said if isinstance(said, str) else ""}}]
    if kind in ("text", "multimodal_text"):
        return [part for piece in _pieces(content) if (part := _piece(piece)) is not None]
    if kind == "thoughts":
        texts = map(_thought, some(content.get("thoughts")))
        return [{"type": "reasoning", "text": text, "state": "done"} for text in texts if text]
    if kind in ("code", "execution_output") and isinstance(content.get("text"), str):
        text = content["text"]
        if kind == "code" and node.role == "assistant":
            text = f"```{short(content.get('language'), 30)}\n{text}\n```"
        return [{"type": "text", "text": text}]
    return [{"type": "data-chatgpt", "data": content}] if _holds(content) or len(content) > 1 else []


def _pieces(content: dict[str, Any]) -> list[Any]:
    return some(content.get("parts"))


def _joined(content: dict[str, Any]) -> str:
    return "\n".join(piece for piece in _pieces(content) if isinstance(piece, str))


def _piece(piece: Any) -> dict[str, Any] | None:
    if isinstance(piece, str):
        return {"type": "text", "text": piece} if piece else None
    return {"type": "data-chatgpt", "data": piece} if piece else None


def _thought(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    texts = (value.get("summary"), value.get("content"))
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)
