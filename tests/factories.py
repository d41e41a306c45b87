from __future__ import annotations

import factory
from django.contrib.auth import get_user_model

from chat.models import Message, Thread, TokenUsage, ToolApproval, Turn


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    password = factory.django.Password("secret")


class ThreadFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Thread

    owner = factory.SubFactory(UserFactory)
    title = factory.Sequence(lambda n: f"Thread {n}")


class TurnFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Turn

    thread = factory.SubFactory(ThreadFactory)
    user = factory.SelfAttribute("thread.owner")
    turn_id = factory.Sequence(lambda n: f"turn-{n}")
    fingerprint = "f" * 64
    status = "completed"


class MessageFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Message

    thread = factory.SubFactory(ThreadFactory)
    role = "user"
    parts = factory.LazyFunction(lambda: [{"type": "text", "text": "Hello"}])


class UsageFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = TokenUsage

    turn = factory.SubFactory(TurnFactory)
    thread = factory.SelfAttribute("turn.thread")
    user = factory.SelfAttribute("turn.user")
    prompt_tokens = 10
    completion_tokens = 5
    total_tokens = 15
    source = "reported"


class ApprovalFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ToolApproval

    turn = factory.SubFactory(TurnFactory)
    tool_call_id = factory.Sequence(lambda n: f"call-{n}")
    tool_name = "send_mail"
    kind = "approval"
    input = factory.LazyFunction(lambda: {"to": "ann"})
