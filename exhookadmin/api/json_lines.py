"""JSON Lines in and out: a body of bounded size as a file, and lines as they are made."""

import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

MEDIA_TYPE = "application/jsonl"
LARGEST_BODY = 10 * 1024 * 1024
"""In bytes. What is larger comes in several calls, or through `manage.py import`."""
CHUNK_BYTES = 64 * 1024


class JsonLinesParser(BaseParser):
    """Puts the body into a temporary file, which ends with the last reference to it.

    Raises ParseError for a body that is too large.
    """

    media_type = MEDIA_TYPE

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it outlives this call
        left = LARGEST_BODY
        while some := stream.read(CHUNK_BYTES):
            left -= len(some)
            if left < 0:
                file.close()
                raise ParseError(f"At most {LARGEST_BODY:,} bytes a call: send the lines in several.")
            file.write(some)
        file.seek(0)
        return file


class NdjsonParser(JsonLinesParser):
    media_type = "application/x-ndjson"


class PlainTextParser(JsonLinesParser):
    media_type = "text/plain"


class JsonLinesRenderer(JSONRenderer):
    """Only for the choice of a media type: the lines themselves are made by the views."""

    media_type = MEDIA_TYPE
    format = "jsonl"


class AlwaysJsonLines(BaseContentNegotiation):
    """There is one form, so whatever is accepted gets it (RFC 9110, 12.4.1, allows that)."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


def answered(lines: Iterable[bytes]) -> StreamingHttpResponse:
    """An answer whose lines are sent as they come."""
    return StreamingHttpResponse(lines, content_type=MEDIA_TYPE)
