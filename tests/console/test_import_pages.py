"""Importing in the browser: seen first, confirmed with the same file, and allowed to those who may add."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.models import Credential, Device
from accounts.validators import NAME_CHARACTERS
from acl.models import Policy, Rule
from exhookadmin.console import import_pages
from exhookadmin.console.import_forms import FIELDS, HAVE_RULES, LARGEST
from exhookadmin.console.import_report import SHOWN
from exhookadmin.fleet.formats.known import FORMATS
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.models import ImportRun
from exhookadmin.staff.models import RecordedChange
from tests.staff.people import browser, member
from tests.web_form import form_data

pytestmark = pytest.mark.django_db

PAGE = reverse("console:import")
DEVICES = "username,description,password\np1,first,s3cret-of-p1\np2,second,\n"
ACL = '{allow, {zone, "z"}, all, ["b"]}.\n{deny, all, all, ["a"]}.\n'


def send(
    client: Client, text: str | bytes, format: str = "devices-csv", *, called: str = "fleet.csv", **given: Any
) -> Any:
    content = text.encode() if isinstance(text, str) else text
    return client.post(PAGE, {"format": format, "file": SimpleUploadedFile(called, content), **given})


def confirm(client: Client, dry_run: Any, text: str, called: str = "fleet.csv", **other: Any) -> Any:
    """Fills in the form below the report of a dry run."""
    data: Mapping[str, Any] = form_data(dry_run, "confirm_form") | other
    return client.post(PAGE, {**data, "file": SimpleUploadedFile(called, text.encode())})


def text_of(response: Any) -> str:
    """What a reader sees of the report: without tags, spaces as one."""
    assert response.status_code == 200
    html = response.content.decode().partition('id="report"')[2].partition("</body>")[0]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
    return text.replace("&#x27;", "'").replace("&quot;", '"')


def allowed(*permissions: str) -> Client:
    user = User.objects.create_user("carol", password="correct horse battery", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return browser(user)


def test_a_dry_run_changes_nothing_and_tells_each_row(admin_client: Client):
    services.create_device("p2", description="second")
    services.create_device("p3")
    answer = text_of(send(admin_client, DEVICES + "p3,third,\n" + "p" * (NAME_CHARACTERS + 1) + ",,\n"))
    assert "Dry run: nothing was changed" in answer
    assert "1 refused, 1 created, 1 updated, 1 unchanged" in answer
    assert re.search(r"line 5 refused p+ username : ", answer)
    rows = [answer.index(row) for row in ("line 5 refused", "line 2 created p1", "line 4 updated p3",
                                          "line 3 unchanged p2")]  # fmt: skip
    assert rows == sorted(rows)
    assert sorted(Device.objects.values_list("username", flat=True)) == ["p2", "p3"]
    assert Device.objects.get(username="p3").description == ""
    assert not Credential.objects.exists()
    assert not ImportRun.objects.exists()


def test_what_was_confirmed_is_imported(admin_client: Client):
    answer = text_of(confirm(admin_client, send(admin_client, DEVICES), DEVICES))
    assert "Imported" in answer
    assert "2 created" in answer
    assert "line 2 created p1" in answer
    assert Device.objects.get(username="p1").description == "first"
    assert Credential.objects.get().device.username == "p1"
    change = RecordedChange.objects.filter(kind="accounts.device")[0]
    assert (change.actor, change.channel) == ("admin", "import")
    assert "2 unchanged" in text_of(send(admin_client, DEVICES))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        pytest.param(DEVICES.replace("p2", "p9"), {}, id="another file"),
        pytest.param(DEVICES, {"format": "emqx-users-csv", "plain": "on"}, id="another format"),
        pytest.param(DEVICES, {"confirmed": "made:up"}, id="a token of nobody’s"),
        pytest.param(DEVICES, {"confirmed": "\ud7ff:\x00"}, id="no token at all"),
    ],
)
def test_nothing_else_than_what_was_confirmed_is_imported(
    text: str, other: dict[str, str], admin_client: Client
):
    answer = text_of(confirm(admin_client, send(admin_client, DEVICES), text, **other))
    assert "Nothing" in answer
    assert "Imported" not in answer
    assert not Device.objects.exists()


@pytest.mark.parametrize("changed", [{"priority": "8"}, {"name": "other"}, {"widen_denies": "on"}], ids=str)
def test_other_options_than_those_confirmed_are_refused(changed: dict[str, str], admin_client: Client):
    given = {"drop_allows": "on", "priority": "7"}
    seen = send(admin_client, ACL, "emqx-acl-conf", called="acl.conf", **given)
    refused = confirm(admin_client, seen, ACL, "acl.conf", **changed)
    assert import_pages.NOT_CONFIRMED in text_of(refused)
    assert not Rule.objects.exists()
    # What was refused was tried out: it can be confirmed in its turn, from a file of another name too.
    assert "Imported" in text_of(confirm(admin_client, refused, ACL, "renamed"))
    assert Rule.objects.get().priority == 6 + (changed.get("priority") == "8")


def test_a_confirmation_is_for_one_person_and_an_hour(admin_client: Client, monkeypatch: pytest.MonkeyPatch):
    seen = send(admin_client, DEVICES)
    assert import_pages.NOT_CONFIRMED in text_of(confirm(browser(member("operator")), seen, DEVICES))
    monkeypatch.setattr(import_pages, "CONFIRMED_SECONDS", -1)
    assert import_pages.NOT_CONFIRMED in text_of(confirm(admin_client, seen, DEVICES))
    assert not Device.objects.exists()


def test_what_is_lost_must_be_accepted(admin_client: Client):
    answer = send(admin_client, ACL, "emqx-acl-conf", called="acl.conf")
    text = text_of(answer)
    assert "Nothing can be imported as it is." in text
    assert "line 1 allow lost" in text
    assert "confirm_form" not in answer.content.decode()


def test_a_file_that_is_too_large_is_refused_in_words(admin_client: Client):
    answer = send(admin_client, b"username\n" + b"x" * LARGEST)
    assert "larger than 5 MiB: import it with “manage.py import”" in answer.content.decode()
    assert "Nothing was changed" in text_of(answer)
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("text", "format", "words"),
    [
        pytest.param("username\np1\np1\n", "devices-csv", "line 3 error device : device p1 was on line 2",
                     id="twice"),
        pytest.param("username\np1,x\n", "devices-csv", "line 2 error it has 2 cells and the header has 1",
                     id="cells"),
        pytest.param(b"username\n\xff\n", "devices-csv", "line 2 error byte 1 is not UTF-8", id="not UTF-8"),
        pytest.param('{"type": "device"', "fleet-jsonl", "line 1 error", id="cut off"),
        pytest.param("user_id,password_hash\na,b\n", "emqx-users-csv", "error algorithm : this must be given",
                     id="no algorithm"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line(
    text: str | bytes, format: str, words: str, admin_client: Client
):
    answer = send(admin_client, text, format)
    assert words in text_of(answer)
    assert "Nothing was changed" in text_of(answer)
    assert "confirm_form" not in answer.content.decode()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"map_attribute": "a=b c"}, "Write “c” as theirs=ours.", id="attribute"),
        pytest.param({"priority": "high"}, "Enter a whole number.", id="priority"),
        pytest.param({"called": "n" * 101}, "The name of the file is longer than 100", id="name"),
    ],
)
def test_options_that_cannot_be_are_told(given: dict[str, str], words: str, admin_client: Client):
    answer = send(admin_client, ACL, "emqx-acl-conf", **given)
    assert words in answer.content.decode()
    assert "Nothing was changed" in text_of(answer)


def test_without_a_file_nothing_happens(admin_client: Client):
    answer = admin_client.post(PAGE, {"format": "devices-csv"})
    assert "This field is required." in answer.content.decode()


def test_a_format_that_is_none_is_told(admin_client: Client):
    for answer in (admin_client.get(PAGE, {"format": "x"}), send(admin_client, DEVICES, "x")):
        assert "Choose one of these formats." in answer.content.decode()


def test_the_options_reach_the_reader(admin_client: Client):
    digest = hashlib.sha256(b"s3cret" + b"pepper").hexdigest()
    text = f"user_id,password_hash,salt\nu1,{digest},pepper\n"
    given = {"algorithm": "sha256", "salt_position": "suffix", "client_id_binding": "any"}
    confirm(admin_client, send(admin_client, text, "emqx-users-csv", **given), text)
    assert Credential.objects.get().encoded == f"emqx$sha256$suffix$pepper${digest}"
    assert Device.objects.get().client_id_binding == "any"
    acl = '{allow, all, all, ["${client_attrs.their}/x"]}.'
    seen = send(
        admin_client, acl, "emqx-acl-conf", called="acl.conf", map_attribute="their=ours\nb=c", priority="7"
    )
    confirm(admin_client, seen, acl, "acl.conf")
    rule = Rule.objects.get()
    assert (rule.topic_filter, rule.priority, rule.note) == ("${attr.ours}/x", 7, "acl.conf, line 1")


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_each_format_is_asked_for_its_options(format: str, admin_client: Client):
    asked = set(form_data(admin_client.get(PAGE, {"format": format}), "import_form"))
    ticks = {"plain", "drop_allows", "widen_denies"}
    selects = {"algorithm", "salt_position", "mac", "salt_encoding", "client_id_binding"}
    wanted = {"csrfmiddlewaretoken", "format", "file", *FIELDS[format]} - ticks
    assert wanted - selects <= asked <= wanted
    assert set(FORMATS[format].asks) <= set(FIELDS[format])
    assert (format in HAVE_RULES) >= FORMATS[format].whole
    known = set(Options.__dataclass_fields__) - {"now", "attributes", "binding"}
    assert set(FIELDS[format]) <= known | {"map_attribute", "client_id_binding", "drop_allows"}


@pytest.mark.parametrize("method", ["get", "post"])
def test_who_may_only_look_is_kept_out(method: str):
    viewer = browser(member("viewer"))
    assert (viewer.get(PAGE) if method == "get" else send(viewer, DEVICES)).status_code == 403
    assert not Device.objects.exists()


def test_a_confirmation_of_somebody_else_is_no_permission(admin_client: Client):
    seen = send(admin_client, DEVICES)
    assert confirm(browser(member("viewer")), seen, DEVICES).status_code == 403
    assert not Device.objects.exists()


def test_rules_are_for_those_who_may_add_them():
    client = allowed("add_device", "change_device", "add_credential", "view_device")
    page = client.get(PAGE).content.decode()
    assert "emqx-users-csv" in page
    assert "emqx-acl-conf" not in page
    assert client.get(PAGE, {"format": "emqx-acl-conf"}).status_code == 403
    assert send(client, ACL, "emqx-acl-conf").status_code == 403
    assert not Policy.objects.exists()


def test_what_the_services_refuse_is_told_in_words():
    operator = browser(member("operator"))
    text = "username,superuser\nroot,true\n"
    answer = text_of(confirm(operator, send(operator, text), text))
    assert "The import was stopped. “root” is a superuser device" in answer
    assert "Imported" not in answer
    assert not Device.objects.exists()


def test_what_takes_too_long_goes_on_when_it_is_sent_again(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("exhookadmin.fleet.importing.BATCH", 1)
    monkeypatch.setattr(import_pages, "STORING_SECONDS", -1.0)
    seen = send(admin_client, DEVICES)
    assert "1 of 2 records are stored" in text_of(confirm(admin_client, seen, DEVICES))
    assert [device.username for device in Device.objects.all()] == ["p1"]
    answer = text_of(confirm(admin_client, seen, DEVICES))
    assert "too long" not in answer
    assert "2 created" in answer
    assert Device.objects.count() == 2
    assert Credential.objects.count() == 1


def test_a_list_of_rules_is_never_stored_by_halves(admin_client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("exhookadmin.fleet.importing.BATCH", 1)
    monkeypatch.setattr(import_pages, "STORING_SECONDS", -1.0)
    text = '{deny, all, all, ["a"]}.\n{allow, all, all, ["b"]}.\n'
    answer = confirm(admin_client, send(admin_client, text, "emqx-acl-conf"), text)
    assert "Imported" in text_of(answer)
    assert Rule.objects.count() == 2


def test_what_is_grave_is_shown_first_and_the_rest_counted(admin_client: Client):
    rows = [f"p{number}:$7$1$x\n" for number in range(SHOWN + 50)]
    good = "good:$6$c2FsdHNhbHQ=$" + "A" * 86 + "==\n"
    answer = text_of(send(admin_client, good + "".join(rows), "mosquitto-passwords"))
    assert answer.count("line ") - answer.count("first line") >= SHOWN
    assert f"{SHOWN + 50} refused, 1 created" in answer
    assert "and 51 more" in answer
    assert "created good" not in answer


@pytest.mark.parametrize(
    ("text", "format", "given"),
    [
        pytest.param(DEVICES.replace("s3cret-of-p1", "SECRET"), "devices-csv", {}, id="password"),
        pytest.param("p1,SECRET\n", "devices-csv", {}, id="without a header"),
        pytest.param("SECRET,SECRET\n", "emqx-users-csv", {"plain": "on"}, id="twice, without a header"),
        pytest.param("user_id,password_hash\nu1,SECRET\n", "emqx-users-csv", {"algorithm": "md5"}, id="hash"),
        pytest.param("u1:SECRET\n", "mosquitto-passwords", {}, id="in clear where hashes belong"),
        pytest.param(
            '[{"user_id": "u1", "password": "SECRET"}]', "emqx-users-json", {"plain": "on"}, id="JSON"
        ),
        pytest.param("username,credential\nu1,SECRET\n", "devices-csv", {}, id="stored form"),
        pytest.param("u1:$7$101$SECRET\n", "mosquitto-acl", {}, id="passwords as an ACL"),
        pytest.param("u1:$7$101$SECRET\n", "emqx-acl-conf", {}, id="passwords as acl.conf"),
        pytest.param("username,networks\nu1,SECRET\n", "devices-csv", {}, id="another column"),
    ],
)
def test_no_answer_repeats_a_secret(text: str, format: str, given: dict[str, str], admin_client: Client):
    seen = send(admin_client, text, format, **given)
    answers = [seen]
    if "confirm_form" in seen.content.decode():
        answers.append(confirm(admin_client, seen, text))
    digest = hashlib.sha256(text.encode()).hexdigest()
    for answer in answers:
        assert answer.status_code == 200
        assert "SECRET" not in answer.content.decode()
        assert digest not in answer.content.decode()
    assert not any("SECRET" in str(value) for value in admin_client.session.items())


def test_the_list_of_devices_leads_to_it(admin_client: Client):
    button = reverse("admin:accounts_device_import_file")
    devices = reverse("admin:accounts_device_changelist")
    assert button in admin_client.get(devices).content.decode()
    assert admin_client.get(button)["Location"] == PAGE
    viewer = browser(member("viewer"))
    assert button not in viewer.get(devices).content.decode()
    assert viewer.get(button).status_code == 403
