"""Files that go with messages: uploaded first, then named by a file part's ``url``."""

from __future__ import annotations

import codecs
import re
from typing import Any, BinaryIO, cast
from uuid import UUID

import filetype
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.http import content_disposition_header
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request

from chat import conf
from chat.api.views import ChatView, answer
from chat.errors import BodyTooLarge, InvalidInput, NotFound, UnsupportedType
from chat.protocol import sanitize
from chat.protocol.requests import told_length
from chat.store.attachments import delete_attachment, find_attachment, pieces_of, save_attachment
from chat.store.crossing import stepwise

NAME_LENGTH, PIECE = 255, 64 * 1024
# What the parts of a multipart body weigh beside the file.
ENVELOPE = 64 * 1024
# No text holds these; line ends, tabs, form feeds and escapes are none of them.
CONTROLS = re.compile("[\\x00-\\x08\\x0b\\x0e-\\x1a\\x1c-\\x1f]")
# What a browser may show by itself: it runs nothing.
SHOWN_INLINE = ("image/png", "image/jpeg", "image/gif", "image/webp")


class Attachments(ChatView):
    parser_classes = [MultiPartParser]

    def post(self, request: Request) -> HttpResponse:
        """Keep a file (the field ``file`` of a multipart form); ``part`` is what a message says to name it."""
        if told_length(request.META.get("CONTENT_LENGTH", "")) > conf.get("ATTACHMENT_BYTES") + ENVELOPE:
            raise BodyTooLarge
        file = self._file(request)
        size = file.size or 0
        if size > conf.get("ATTACHMENT_BYTES"):
            raise BodyTooLarge
        if not size:
            raise InvalidInput("file", "The file is empty.")
        name = (file.name or "file")[-NAME_LENGTH:]
        sanitize.check(name, "file")
        content = cast(BinaryIO, file.file)
        media_type = sniffed(content)
        if media_type not in conf.get("ATTACHMENT_TYPES"):
            raise UnsupportedType(media_type=media_type)
        kept = save_attachment(self.asker(), content, filename=name, media_type=media_type, size=size)
        return answer(shown(kept), status=201)

    def _file(self, request: Request) -> Any:
        try:
            file = request.FILES.get("file")
        except UnsupportedMediaType:
            file = None
        except (ParseError, SuspiciousOperation, ValueError):
            raise InvalidInput("file", "The body is no multipart form that can be read.") from None
        if not isinstance(file, UploadedFile):
            raise InvalidInput("file", "A multipart form with a file named file is needed.")
        return file


class Attachment(ChatView):
    def get(self, request: Request, attachment_id: UUID) -> StreamingHttpResponse:
        """The file, for its owner and for those who see the thread it was attached in."""
        found = find_attachment(self.asker(), attachment_id)
        try:
            pieces = pieces_of(found)
        except FileNotFoundError:
            raise NotFound from None
        inline = found["media_type"] in SHOWN_INLINE
        return StreamingHttpResponse(
            stepwise(pieces),
            content_type=found["media_type"],
            headers={
                "Content-Disposition": content_disposition_header(not inline, found["filename"]) or "inline",
                "Content-Length": str(found["size"]),
                "X-Content-Type-Options": "nosniff",
                # Whatever a browser takes it for, it runs nothing and belongs to no origin.
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, max-age=3600",
            },
        )

    def delete(self, request: Request, attachment_id: UUID) -> HttpResponse:
        delete_attachment(self.asker(), attachment_id)
        return HttpResponse(status=204)


def shown(attachment: dict[str, Any]) -> dict[str, Any]:
    url = reverse("attachment", kwargs={"attachment_id": attachment["id"]})
    names = ("id", "filename", "media_type", "size", "created_at")
    part = {"type": "file", "mediaType": attachment["media_type"], "url": url, "filename": attachment["filename"]}
    return {**{name: attachment[name] for name in names}, "part": part}


def sniffed(file: BinaryIO) -> str:
    """The type that the bytes of a file say it has: what its sender says is not asked. Text is UTF-8 without control
    characters; whatever else it may be (SVG, HTML) it is served as text.
    """
    head = file.read(PIECE)
    kind = filetype.guess_mime(head)
    if kind is None and _is_text(file, head):
        kind = "text/plain"
    file.seek(0)
    return str(kind or "application/octet-stream")


def _is_text(file: BinaryIO, piece: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while piece:
            if CONTROLS.search(decoder.decode(piece)):
                return False
            piece = file.read(PIECE)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
