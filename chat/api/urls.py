from __future__ import annotations

from django.urls import path

from chat.api import copilot, copilot_stream, stream
from chat.api.messages import Messages
from chat.api.state import State
from chat.api.threads import Thread, Threads
from chat.api.turns import Turn
from chat.api.usage import Usage
from chat.api.versions import Restore, Versions

urlpatterns = [
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
    path("turns/<int:pk>", Turn.as_view(), name="turn"),
    path("turns/<int:pk>/stream", stream.turn_stream, name="turn-stream"),
    path("turns/<int:pk>/approvals/", stream.decide_calls, name="turn-approvals"),
    path("turns/<int:pk>/stop", stream.stop_one, name="turn-stop"),
    path("threads/", Threads.as_view(), name="threads"),
    path("threads/<str:thread_id>/", Thread.as_view(), name="thread"),
    path("threads/<str:thread_id>/state/", State.as_view(), name="thread-state"),
    path("threads/<str:thread_id>/messages/", Messages.as_view(), name="messages"),
    path("messages/<int:pk>/versions/", Versions.as_view(), name="message-versions"),
    path("messages/<int:pk>/restore/", Restore.as_view(), name="message-restore"),
    path("usage/", Usage.as_view(), name="usage"),
]
