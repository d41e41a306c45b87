"""Servers that speak OpenAI's chat completions, as they are: some cut their answers off, some repeat their usage."""

from __future__ import annotations

from pydantic_ai.models.openai import OpenAIChatModel, OpenAIStreamedResponse
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.usage import RequestUsage


class _Stream(OpenAIStreamedResponse):
    def _add_usage(self, usage: RequestUsage, *, reported: bool, cumulative: bool = False) -> None:
        """The usage that was said last is the whole one. Some servers say it with every chunk, some twice at the end;
        the library would add them up.
        """
        if reported:
            super()._add_usage(usage, reported=True, cumulative=True)


class ChatModel(OpenAIChatModel):
    """A model behind such a server, by its name there; OPENAI_BASE_URL and OPENAI_API_KEY say where and who."""

    def __init__(self, name: str) -> None:
        # Where the length of an answer is not told by HTTP, an end without a reason is a connection that broke.
        profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
        super().__init__(name, provider="openai-chat", profile=profile)

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _Stream
