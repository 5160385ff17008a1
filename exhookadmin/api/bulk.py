"""Many devices at once, as lines of the own format, through the same import as files."""

import io
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, ClassVar

from django.db import IntegrityError
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request

from accounts.models import Device
from exhookadmin.api.devices import DeviceQuery
from exhookadmin.api.idempotency import HEADER
from exhookadmin.api.json_lines import (
    MEDIA_TYPE,
    AlwaysJsonLines,
    JsonLinesParser,
    JsonLinesRenderer,
    NdjsonParser,
    PlainTextParser,
    answered,
)
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import ResourceView
from exhookadmin.fleet.formats.known import FORMATS, read
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.importing import Choices, ImportRefused, import_fleet
from exhookadmin.fleet.models import ImportRun
from exhookadmin.fleet.outcomes import Told
from exhookadmin.fleet.records import DeviceRecord, Finding, Kind
from exhookadmin.fleet.report import Report
from exhookadmin.fleet.stored import stored_devices
from exhookadmin.fleet.writing.own_lines import device_object, own_line

FORMAT = "fleet-jsonl"
MOST_PASSWORDS = 100
"""Passwords in clear a call: each is hashed with bcrypt while the caller waits."""


class LineReport(Report):
    """Each line's outcome as a line of JSON, in a file."""

    def __init__(self, lines: BinaryIO) -> None:
        super().__init__()
        self.lines = lines

    def finding(self, found: Finding) -> None:
        super().finding(found)
        if found.kind is Kind.REFUSED:
            self._line(found.line, "", "refused", found.field, found.reason)

    def told(self, told: Told) -> None:
        super().told(told)
        self._line(told.line, told.name, told.outcome.value, told.field, told.reason)

    def _line(self, line: int, username: str, status: str, field: str, reason: str) -> None:
        said = {"line": line, "username": username, "status": status, "field": field, "reason": reason}
        self.lines.write(own_line(said))


class BulkDeviceView(ResourceView):
    """Devices in the program's own JSON Lines."""

    queryset = Device.objects.all()
    pagination_class = None
    parser_classes = (JsonLinesParser, NdjsonParser, PlainTextParser)
    renderer_classes = (JsonLinesRenderer,)
    content_negotiation_class = AlwaysJsonLines
    repeatable = True
    scopes: ClassVar = {"list": Scope.DEVICES_READ, "create": Scope.DEVICES_WRITE}

    @extend_schema(
        summary="Read all devices as JSON Lines",
        parameters=[DeviceQuery],
        responses={(200, MEDIA_TYPE): OpenApiTypes.STR},
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> StreamingHttpResponse:
        """One device a line, without credentials; with its rules for a key that may also read policies."""
        asked = DeviceQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        rows = asked.narrow(Device.objects.all())
        return answered(_lines(rows, with_rules=self.key.may(Scope.POLICIES_READ)))

    @extend_schema(
        summary="Create or change many devices",
        request={MEDIA_TYPE: OpenApiTypes.STR},
        responses={(200, MEDIA_TYPE): OpenApiTypes.STR},
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> StreamingHttpResponse:
        """One device a line, found by its username; at most 10 MiB and 100 passwords in clear.

        Answers one line for each: line, username, status (created, updated, unchanged or refused), field,
        reason. A body that cannot be read changes nothing. Sent again it changes nothing more. Lines with
        credentials also need the scope `credentials:write`, lines with rules or policies `policies:write`.
        """
        # Without any body there is no file either.
        body = request.data or io.BytesIO()
        options = Options(name=f"bulk {uuid.uuid4()}", now=time.time())
        _check(self.key, body, options)
        results = tempfile.TemporaryFile()  # noqa: SIM115 - it is read while the answer is sent
        report = LineReport(results)
        try:
            import_fleet(FORMAT, body, options, Choices(), report)
        except ImportRefused:
            raise ValidationError(_errors(report.findings)) from None
        except IntegrityError:
            raise ValidationError(
                {"whole": ["Somebody else changed the same devices meanwhile: send it again."]}
            ) from None
        finally:
            # Sent again it begins anew, so that each line has its answer.
            ImportRun.objects.filter(file_name=options.name).delete()
        results.seek(0)
        return answered(results)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.headers.get(HEADER):
            raise ValidationError({HEADER: ["Not needed here: sent again, it changes nothing more."]})
        super().initial(request, *args, **kwargs)


def _lines(rows: Any, *, with_rules: bool) -> Iterator[bytes]:
    for device in stored_devices(rows):
        shown = device_object(device, credentials=False)
        if not with_rules:
            shown.pop("rules", None)
        yield own_line(shown)


def _check(key: ApiKey, body: BinaryIO, options: Options) -> None:
    """Whether the lines are devices, few enough with passwords, and what the key may write."""
    passwords = 0
    for one in read(FORMATS[FORMAT], body, options):
        if isinstance(one, Finding):
            continue
        if not isinstance(one, DeviceRecord):
            raise ValidationError({f"line {one.line}": ["Only lines of the type “device” are taken here."]})
        for scope in _needed(one):
            if not key.may(scope):
                raise PermissionDenied(f"Line {one.line}: this key lacks the scope “{scope}”.")
        passwords += sum(1 for credential in one.credentials if credential.plain)
        if passwords > MOST_PASSWORDS:
            reason = f"At most {MOST_PASSWORDS} passwords in clear a call: send the lines in several."
            raise ValidationError({f"line {one.line}": [reason]})


def _needed(record: DeviceRecord) -> Iterator[Scope]:
    if record.credentials:
        yield Scope.CREDENTIALS_WRITE
    if record.rules is not None or record.policies is not None:
        yield Scope.POLICIES_WRITE


def _errors(findings: Iterable[Finding]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in findings:
        if one.kind is not Kind.REFUSED:
            where = f"line {one.line}, {one.field}" if one.field else f"line {one.line}"
            found.setdefault(where, []).append(one.reason)
    return found
