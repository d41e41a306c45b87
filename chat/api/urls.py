from __future__ import annotations

from django.urls import path, register_converter

from chat.api import copilot, copilot_stream, stream
from chat.api.attachments import Attachment, Attachments
from chat.api.feedback import MessageFeedback, ThreadFeedback
from chat.api.messages import Message, Messages
from chat.api.portable import Export, ExportThread, ForkThread, Import
from chat.api.schema import Docs, Schema
from chat.api.search import Search
from chat.api.shares import Share, Shared, Shares
from chat.api.state import State
from chat.api.threads import PurgeThread, RestoreThread, Thread, Threads
from chat.api.tokens import Token, Tokens
from chat.api.turns import Turn
from chat.api.usage import Usage
from chat.api.versions import Restore, Versions


class RowNumber:
    """A number that a row may have: a longer one is no address, and no error of the database."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(RowNumber, "pk")
urlpatterns = [
    path("schema/", Schema.as_view(), name="schema"),
    path("docs/", Docs.as_view(), name="docs"),
    path("chat", stream.send_message, name="chat-send"),
    path("chat/<str:thread_id>/stream", stream.resume, name="chat-resume"),
    path("chat/<str:thread_id>/stop", stream.stop, name="chat-stop"),
    path("copilot/chat", copilot_stream.send_message, name="copilot-send"),
    path("copilot/chat/stream", copilot_stream.resume, name="copilot-resume"),
    path("copilot/chat/stop", copilot_stream.stop, name="copilot-stop"),
    path("copilot/chats/", copilot.Chats.as_view(), name="copilot-chats"),
    path("copilot/chats/<str:chat_id>/", copilot.Chat.as_view(), name="copilot-chat"),
    path("copilot/chats/<str:chat_id>/update-messages/", copilot.UpdateMessages.as_view(), name="copilot-messages"),
    path("copilot/chats/<str:chat_id>/fork/", copilot.Fork.as_view(), name="copilot-fork"),
    path("copilot/chats/<str:chat_id>/inbox/", copilot_stream.inbox, name="copilot-inbox"),
    path("copilot/import/", copilot.Import.as_view(), name="copilot-import"),
    path("turns/<pk:pk>", Turn.as_view(), name="turn"),
    path("turns/<pk:pk>/stream", stream.turn_stream, name="turn-stream"),
    path("turns/<pk:pk>/approvals/", stream.decide_calls, name="turn-approvals"),
    path("turns/<pk:pk>/stop", stream.stop_one, name="turn-stop"),
    path("threads/", Threads.as_view(), name="threads"),
    path("threads/<str:thread_id>/", Thread.as_view(), name="thread"),
    path("threads/<str:thread_id>/state/", State.as_view(), name="thread-state"),
    path("threads/<str:thread_id>/messages/", Messages.as_view(), name="messages"),
    path("messages/<pk:pk>/", Message.as_view(), name="message"),
    path("messages/<pk:pk>/versions/", Versions.as_view(), name="message-versions"),
    path("messages/<pk:pk>/restore/", Restore.as_view(), name="message-restore"),
    path("threads/<str:thread_id>/restore/", RestoreThread.as_view(), name="thread-restore"),
    path("threads/<str:thread_id>/purge/", PurgeThread.as_view(), name="thread-purge"),
    path("threads/<str:thread_id>/fork/", ForkThread.as_view(), name="thread-fork"),
    path("threads/<str:thread_id>/export/", ExportThread.as_view(), name="thread-export"),
    path("export/", Export.as_view(), name="export"),
    path("import/", Import.as_view(), name="import"),
    path("threads/<str:thread_id>/shares/", Shares.as_view(), name="shares"),
    path("shares/<pk:pk>/", Share.as_view(), name="share"),
    path("shared/<str:secret>/", Shared.as_view(), name="shared"),
    path("threads/<str:thread_id>/feedback/", ThreadFeedback.as_view(), name="thread-feedback"),
    path("messages/<pk:pk>/feedback/", MessageFeedback.as_view(), name="message-feedback"),
    path("attachments/", Attachments.as_view(), name="attachments"),
    path("attachments/<uuid:attachment_id>/", Attachment.as_view(), name="attachment"),
    path("tokens/", Tokens.as_view(), name="tokens"),
    path("tokens/<pk:pk>/", Token.as_view(), name="token"),
    path("search/", Search.as_view(), name="search"),
    path("usage/", Usage.as_view(), name="usage"),
]
