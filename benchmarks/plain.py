"""What a page of messages is measured against: the view that a team writes in an afternoon.

A ModelSerializer with the usage nested and fetched beforehand, the owner's rows only, keyset pages, the same
authentication, permissions and middleware, and the same content in its answer.
"""

from __future__ import annotations

from django.db.models import QuerySet
from django.urls import include, path
from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer

from chat.access.authentication import Bearer, SessionOrOrigin
from chat.models import Message, TokenUsage
from chat.store.messages import USAGE_SHOWN


class UsageSerializer(ModelSerializer[TokenUsage]):
    class Meta:
        model = TokenUsage
        fields = USAGE_SHOWN


class MessageSerializer(ModelSerializer[Message]):
    usage = UsageSerializer(many=True)

    class Meta:
        model = Message
        fields = ("id", "role", "parts", "metadata", "turn_id", "client_id", "created_at", "usage")


class Pages(CursorPagination):
    page_size = 200
    ordering = "-id"


class Messages(ListAPIView[Message]):
    serializer_class = MessageSerializer
    pagination_class = Pages
    authentication_classes = (SessionOrOrigin, Bearer)
    permission_classes = (IsAuthenticated,)
    renderer_classes = (JSONRenderer,)

    def get_queryset(self) -> QuerySet[Message]:
        return Message.objects.filter(
            thread__owner_id=self.request.user.pk,
            thread__client_id=self.kwargs["thread"],
            thread__deleted_at=None,
            is_current=True,
            deleted_at=None,
        ).prefetch_related("usage")


urlpatterns = [path("plain/<str:thread>/", Messages.as_view()), path("", include("chatproject.urls"))]
