from __future__ import annotations

from django.urls import path

from chat.api import stream
from chat.api.messages import Messages
from chat.api.state import State
from chat.api.threads import Thread, Threads
from chat.api.turns import Turn
from chat.api.usage import Usage

urlpatterns = [
    path("chat", stream.send_message, name="chat-send"),
    path("chat/<str:thread_id>/stream", stream.resume, name="chat-resume"),
    path("chat/<str:thread_id>/stop", stream.stop, name="chat-stop"),
    path("turns/<int:pk>", Turn.as_view(), name="turn"),
    path("turns/<int:pk>/stream", stream.turn_stream, name="turn-stream"),
    path("turns/<int:pk>/stop", stream.stop_one, name="turn-stop"),
    path("threads/", Threads.as_view(), name="threads"),
    path("threads/<str:thread_id>/", Thread.as_view(), name="thread"),
    path("threads/<str:thread_id>/state/", State.as_view(), name="thread-state"),
    path("threads/<str:thread_id>/messages/", Messages.as_view(), name="messages"),
    path("usage/", Usage.as_view(), name="usage"),
]
