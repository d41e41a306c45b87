"""Which system a file comes from, and its conversations one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chat.errors import InvalidInput
from chat.protocol.portable import chatgpt, open_webui, ours
from chat.protocol.portable.conversation import Conversation, a_list


def conversations_of(document: Any) -> Iterator[tuple[int, Conversation | InvalidInput]]:
    """The conversations of a parsed file by their place in it; a bad one as what is wrong with it, and the others all
    the same. Raises InvalidInput for a file of no kind that is known.
    """
    if ours.is_ours(document):
        read, found, at = ours.conversation, ours.threads_of(document), "threads."
    elif chatgpt.is_chatgpt(document):
        read, found, at = chatgpt.conversation, a_list(document, "body"), ""
    elif open_webui.is_open_webui(document):
        read, found, at = open_webui.conversation, a_list(document, "body"), ""
    else:
        raise InvalidInput(
            "body", "This is neither our own export nor ChatGPT's conversations.json nor Open WebUI's export of chats."
        )
    for index, one in enumerate(found):
        try:
            yield index, read(one, f"{at}{index}")
        except InvalidInput as problem:
            yield index, problem
