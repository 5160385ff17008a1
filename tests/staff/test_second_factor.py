"""The second factor: set up with an app, asked for at the login, demanded by a setting, reset by others."""

import re
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp import models
from django_otp.plugins.otp_totp.models import TOTPDevice

from exhookadmin.staff import second_factor
from exhookadmin.staff.roles import ADMINISTRATOR, OPERATOR, VIEWER
from tests.recorded import recorded
from tests.staff.people import PASSWORD, browser, member

pytestmark = pytest.mark.django_db

INDEX, LOGIN, LOGOUT = (reverse(f"admin:{name}") for name in ("index", "login", "logout"))
OVERVIEW, SET_UP, CODE, CODES, OFF = (
    reverse(f"staff:{name}") for name in ("second_factor", "set_up", "code", "new_codes", "give_up")
)


@pytest.fixture
def carol() -> User:
    return member(VIEWER, "carol")


NOW = 1_800_000_015.0
"""In the middle of a step, and there it stays: no test runs into the next one."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "time", SimpleNamespace(time=lambda: NOW))


def app_code(user: User, steps: int = 0) -> str:
    """What the user's app shows so many half minutes from now."""
    totp = TOTP(TOTPDevice.objects.get(user=user).bin_key)
    totp.time = NOW + 30 * steps
    return f"{totp.token():06}"


def wrong_code(user: User) -> str:
    near = {app_code(user, steps) for steps in range(-3, 4)}
    return next(code for code in map(str, range(123_456, 123_999)) if code not in near)


def forgive(user: User) -> None:
    """As time does."""
    for model in (TOTPDevice, StaticDevice):
        model.objects.filter(user=user).update(throttling_failure_count=0)


@pytest.fixture
def codes(carol: User) -> list[str]:
    """Carol has a second factor. Answers the codes that she kept."""
    second_factor.prepare(carol)
    kept = second_factor.confirm(carol, app_code(carol, -1))
    assert kept is not None
    return kept


def logged_in(user: User) -> Client:
    """With the password, through the form."""
    client = Client()
    response = client.post(LOGIN, {"username": user.username, "password": PASSWORD, "next": INDEX})
    assert response.status_code == 302
    return client


def kept_codes(response: Any) -> list[str]:
    return re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", response.content.decode())


def test_it_is_set_up_with_an_app(carol: User) -> None:
    client = logged_in(carol)
    assert "Set it up" in client.get(OVERVIEW).content.decode()
    page = client.get(SET_UP)
    html = page.content.decode()
    assert "<svg" in html
    assert second_factor.key_text(TOTPDevice.objects.get()) in html
    assert "no-store" in page["Cache-Control"]
    assert client.get(SET_UP).content.decode().count(second_factor.key_text(TOTPDevice.objects.get())) == 1
    done = client.post(SET_UP, {"code": app_code(carol)})
    assert len(set(kept_codes(done))) == second_factor.CODES
    assert "no-store" in done["Cache-Control"]
    assert client.get(INDEX).status_code == 200, "whoever sets it up has just proved it"
    assert "is on" in client.get(OVERVIEW).content.decode()
    assert client.get(SET_UP).status_code == 302
    assert recorded(actor="carol") == ["changed carol: second factor off → on"]


def test_it_is_not_set_up_with_a_wrong_code(carol: User) -> None:
    client = logged_in(carol)
    client.get(SET_UP)
    page = client.post(SET_UP, {"code": wrong_code(carol)})
    assert "This code is not right" in page.content.decode()
    assert second_factor.factor_of(carol) is None
    assert client.get(INDEX).status_code == 200


@pytest.mark.parametrize(
    "path",
    [INDEX, reverse("admin:accounts_device_changelist"), OVERVIEW, SET_UP, "/api/docs/", "/admin/explain/"],
)
def test_the_password_alone_gets_no_further_than_the_question(
    carol: User, codes: list[str], path: str
) -> None:
    client = logged_in(carol)
    for response in (client.get(path), client.post(path, {"code": "1"})):
        assert response.status_code == 302
        assert response["Location"].startswith(CODE)


def test_a_code_of_the_app_opens_what_was_asked_for(carol: User, codes: list[str]) -> None:
    client = logged_in(carol)
    devices = reverse("admin:accounts_device_changelist")
    question = client.get(devices)["Location"]
    before = client.session.session_key
    assert "Enter the code" in client.get(question).content.decode()
    answer = client.post(question, {"code": app_code(carol)})
    assert answer["Location"] == devices
    assert client.get(devices).status_code == 200
    assert client.session.session_key != before


def test_nobody_is_led_elsewhere(carol: User, codes: list[str]) -> None:
    client = logged_in(carol)
    answer = client.post(f"{CODE}?next=https://evil.example.com/", {"code": app_code(carol)})
    assert answer["Location"] == INDEX


def test_a_code_is_heard_once(carol: User, codes: list[str]) -> None:
    code = app_code(carol)
    assert logged_in(carol).post(CODE, {"code": code}).status_code == 302
    again = logged_in(carol).post(CODE, {"code": code})
    assert "heard once" in again.content.decode()


def test_a_kept_code_stands_for_the_app_once(carol: User, codes: list[str]) -> None:
    as_read = codes[0].upper().replace("-", " ")
    client = logged_in(carol)
    assert client.post(CODE, {"code": as_read})["Location"] == INDEX
    assert client.get(INDEX).status_code == 200
    assert f"{len(codes) - 1} are left" in " ".join(client.get(OVERVIEW).content.decode().split())
    assert logged_in(carol).post(CODE, {"code": as_read}).status_code == 200


def test_kept_codes_are_stored_nowhere(carol: User, codes: list[str]) -> None:
    stored = list(StaticToken.objects.values_list("token", flat=True))
    assert len(stored) == len(codes)
    for code in codes:
        assert code not in stored
        assert code.replace("-", "") not in stored


def test_failures_are_throttled(carol: User, codes: list[str]) -> None:
    client = logged_in(carol)
    wrong = wrong_code(carol)
    client.post(CODE, {"code": wrong})
    # Nine more: no test waits for them.
    TOTPDevice.objects.filter(user=carol).update(throttling_failure_count=10)
    page = client.post(CODE, {"code": app_code(carol)})
    assert page.status_code == 200, "not even the right one is heard"
    assert re.search(r"Wait 5\d\d s before the next one", page.content.decode())
    forgive(carol)
    assert client.post(CODE, {"code": app_code(carol)}).status_code == 302


def test_a_failure_is_logged_without_the_code(
    carol: User, codes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    wrong = wrong_code(carol)
    logged_in(carol).post(CODE, {"code": wrong})
    [line] = [one for one in caplog.records if one.message == "wrong second factor"]
    assert (line.user, line.address) == ("carol", "127.0.0.1")  # type: ignore[attr-defined]
    assert wrong not in str(vars(line))


def test_other_codes_replace_the_kept_ones(carol: User, codes: list[str]) -> None:
    client = logged_in(carol)
    client.post(CODE, {"code": app_code(carol)})
    assert client.get(CODES).status_code == 405
    fresh = kept_codes(client.post(CODES))
    assert len(fresh) == second_factor.CODES
    assert not set(fresh) & set(codes)
    assert logged_in(carol).post(CODE, {"code": codes[0]}).status_code == 200
    forgive(carol)
    assert logged_in(carol).post(CODE, {"code": fresh[0]}).status_code == 302


def test_it_is_switched_off_with_a_code(carol: User, codes: list[str]) -> None:
    client = logged_in(carol)
    client.post(CODE, {"code": codes[0]})
    assert "Nothing was changed" in client.post(OFF, {"code": "aaaa"}, follow=True).content.decode()
    assert second_factor.factor_of(carol)
    forgive(carol)
    client.post(OFF, {"code": app_code(carol)})
    assert second_factor.factor_of(carol) is None
    assert not StaticToken.objects.exists()
    assert logged_in(carol).get(INDEX).status_code == 200


@pytest.fixture
def required(settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True


@pytest.mark.parametrize("path", [INDEX, OVERVIEW, reverse("admin:acl_policy_changelist"), "/api/docs/"])
def test_where_it_is_required_it_is_set_up_first(required: None, carol: User, path: str) -> None:
    client = logged_in(carol)
    assert client.get(path)["Location"].startswith(SET_UP)
    assert client.post(path, {})["Location"].startswith(SET_UP)
    assert "asks everybody" in client.get(SET_UP).content.decode()
    client.post(SET_UP, {"code": app_code(carol)})
    assert client.get(path).status_code == 200


def test_one_can_always_log_out(carol: User, codes: list[str]) -> None:
    client = logged_in(carol)
    client.post(LOGOUT)
    assert client.get(INDEX)["Location"].startswith(LOGIN)


def test_the_api_asks_for_keys_only(required: None) -> None:
    assert Client().get("/api/v1/devices/").status_code == 401


# --- when the app is gone


def reset_url(user: User) -> str:
    return reverse("admin:auth_user_reset_second_factor", args=[user.pk])


def test_an_administrator_resets_it(carol: User, codes: list[str]) -> None:
    client = browser(member(ADMINISTRATOR))
    assert "really carol" in client.get(reset_url(carol)).content.decode()
    assert second_factor.factor_of(carol)
    assert "is forgotten" in client.post(reset_url(carol), follow=True).content.decode()
    assert second_factor.factor_of(carol) is None
    assert logged_in(carol).get(INDEX).status_code == 200
    assert recorded(actor=ADMINISTRATOR) == ["changed carol: second factor on → reset"]


def test_others_do_not(carol: User, codes: list[str]) -> None:
    for role in (VIEWER, OPERATOR):
        assert browser(member(role)).post(reset_url(carol)).status_code == 403
    assert second_factor.factor_of(carol)


def test_a_superuser_s_is_for_superusers_to_reset(
    carol: User, codes: list[str], admin_client: Client
) -> None:
    User.objects.filter(pk=carol.pk).update(is_superuser=True)
    assert browser(member(ADMINISTRATOR)).post(reset_url(carol)).status_code == 403
    assert second_factor.factor_of(carol)
    assert admin_client.post(reset_url(carol)).status_code == 302
    assert second_factor.factor_of(carol) is None


def test_the_command_resets_it_when_nobody_else_can(carol: User, codes: list[str]) -> None:
    output = StringIO()
    for _ in range(2):
        call_command("reset_second_factor", "carol", stdout=output)
    assert output.getvalue().splitlines() == [
        "The second factor of “carol” is forgotten.",
        "“carol” has no second factor.",
    ]
    with pytest.raises(CommandError, match="no user “nobody”"):
        call_command("reset_second_factor", "nobody")


def test_no_page_of_the_admin_shows_keys(admin_client: Client) -> None:
    for app in ("otp_totp/totpdevice", "otp_static/staticdevice"):
        assert admin_client.get(f"/admin/{app}/").status_code == 404
