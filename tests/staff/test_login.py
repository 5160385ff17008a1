"""The login of staff, and what every answer tells the browser."""

import json
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from exhookadmin.staff.headers import EXCEPTIONS, STRICT, content_policy
from exhookadmin.staff.roles import ADMINISTRATOR, OPERATOR, VIEWER
from tests.programs import run_python
from tests.recorded import recorded
from tests.staff.people import PASSWORD, browser, member

LOGIN = reverse("admin:login")
ATTEMPTS = reverse("admin:axes_accessattempt_changelist")
KEY = "a-key-as-long-and-as-mixed-as-Django-wants-it-0123456789"


@pytest.fixture
def carol(db: None) -> User:
    return member(VIEWER, "carol")


def log_in(password: str, address: str = "192.0.2.1", name: str = "carol") -> Any:
    return Client(REMOTE_ADDR=address).post(
        LOGIN, {"username": name, "password": password, "next": "/admin/"}
    )


def lock_out(address: str = "192.0.2.1") -> Any:
    for _ in range(5):
        response = log_in("a wrong password", address)
    return response


def test_the_password_logs_in(carol: User) -> None:
    assert log_in(PASSWORD).status_code == 302
    log = AccessLog.objects.get()
    assert (log.username, log.ip_address) == ("carol", "192.0.2.1")


def test_too_many_failures_lock_out_that_name_from_that_address(carol: User) -> None:
    locked = lock_out()
    assert locked.status_code == 429
    html = locked.content.decode()
    assert "failed 5 times" in html
    assert "in 15 minutes" in html
    assert log_in(PASSWORD).status_code == 429, "the right password is not heard either"
    assert log_in(PASSWORD, "192.0.2.2").status_code == 302, "nobody is locked out elsewhere"
    member(OPERATOR, "dave")
    assert log_in(PASSWORD, name="dave").status_code == 302, "nor are others from there"


def test_the_failures_are_forgiven_after_a_while(carol: User, settings: Any) -> None:
    lock_out()
    past = AccessAttempt.objects.get().attempt_time - 2 * settings.AXES_COOLOFF_TIME
    AccessAttempt.objects.update(attempt_time=past)
    assert log_in(PASSWORD).status_code == 302


def test_a_success_forgives(carol: User) -> None:
    for _ in range(4):
        log_in("a wrong password")
    assert log_in(PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_behind_a_proxy_the_address_is_the_client_s(carol: User, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    for _ in range(5):
        Client(headers={"X-Forwarded-For": "203.0.113.9"}).post(
            LOGIN, {"username": "carol", "password": "wrong"}
        )
    assert AccessAttempt.objects.get().ip_address == "203.0.113.9"
    other = Client(headers={"X-Forwarded-For": "203.0.113.10"})
    assert other.post(LOGIN, {"username": "carol", "password": PASSWORD}).status_code == 302


def test_no_password_is_kept_with_a_failure(carol: User) -> None:
    log_in("correct horse battery?")
    assert "correct horse" not in str(list(AccessAttempt.objects.values()))


def test_an_administrator_forgives_at_once(carol: User) -> None:
    lock_out()
    client = browser(member(ADMINISTRATOR))
    listed = client.get(ATTEMPTS).content.decode()
    assert "192.0.2.1" in listed
    chosen = [str(AccessAttempt.objects.get().pk)]
    data = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    client.post(ATTEMPTS, data)
    assert log_in(PASSWORD).status_code == 302
    assert recorded(actor=ADMINISTRATOR) == ["deleted carol: failures 5 →"]


@pytest.mark.parametrize("role", [VIEWER, OPERATOR])
def test_others_do_not(carol: User, role: str) -> None:
    lock_out()
    client = browser(member(role))
    assert client.get(ATTEMPTS).status_code == 403
    chosen = [str(AccessAttempt.objects.get().pk)]
    client.post(ATTEMPTS, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert AccessAttempt.objects.exists()


def test_logins_are_listed_and_not_changed(carol: User) -> None:
    log_in(PASSWORD)
    client = browser(member(ADMINISTRATOR))
    url = reverse("admin:axes_accesslog_changelist")
    assert "192.0.2.1" in client.get(url).content.decode()
    row = AccessLog.objects.get(username="carol")
    page = reverse("admin:axes_accesslog_change", args=[row.pk])
    assert client.get(page).status_code == 200
    assert client.post(page, {"username": "dave"}).status_code == 403


# --- what browsers are told


@pytest.mark.parametrize(
    ("path", "loosened"),
    [
        pytest.param("/", set(), id="elsewhere"),
        pytest.param("/api/v1/devices/", set(), id="the API"),
        pytest.param("/static/exhookadmin/admin.css", set(), id="files"),
        pytest.param("/administration/", set(), id="what only begins alike"),
        pytest.param("/admin/", {"script-src", "style-src-attr"}, id="the admin"),
        pytest.param("/admin/accounts/device/", {"script-src", "style-src-attr"}, id="further in"),
        pytest.param("/api/docs/", {"style-src"}, id="the API's document"),
    ],
)
def test_the_policy_is_strict_but_for_named_exceptions(path: str, loosened: set[str]) -> None:
    directives = dict(text.split(" ", 1) for text in content_policy(path).split("; "))
    assert {name for name, value in directives.items() if STRICT.get(name) != value} == loosened
    assert directives.keys() >= STRICT.keys()


def test_no_exception_lets_markup_run_a_script() -> None:
    for directives in (STRICT, *EXCEPTIONS.values()):
        scripts = directives.get("script-src", "'self'").split()
        assert set(scripts) <= {"'self'", "'unsafe-eval'"}
    assert STRICT["object-src"] == STRICT["base-uri"] == STRICT["frame-ancestors"] == "'none'"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/admin/", "/api/v1/devices/", "/nothing/here/"])
def test_every_answer_has_the_headers(path: str) -> None:
    response = Client().get(path)
    assert response["Content-Security-Policy"] == content_policy(path)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]


def test_the_session_ends_with_the_browser_and_after_twelve_hours_without_a_page(carol: User) -> None:
    client = Client()
    client.post(LOGIN, {"username": "carol", "password": PASSWORD})
    cookie = client.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        True,
        "Lax",
        "/",
        "",
    )
    assert cookie["max-age"] == cookie["expires"] == ""
    assert client.session.get_expire_at_browser_close()
    assert client.session.get_expiry_age() == 12 * 3600
    before = client.session.get_expiry_date()
    client.get("/admin/")
    assert client.session.get_expiry_date() > before


def test_in_production_cookies_belong_to_this_host_and_to_https(tmp_path: Any) -> None:
    names = (
        "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE",
        "SESSION_COOKIE_HTTPONLY", "CSRF_COOKIE_HTTPONLY", "SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_SAMESITE",
    )  # fmt: skip
    show = "import json; from django.conf import settings as s; "
    show += f"print(json.dumps([getattr(s, name) for name in {names}]))"
    done = run_python("-c", show, VAR_DIR=str(tmp_path), SECRET_KEY=KEY)
    assert json.loads(done.stdout) == [
        "__Host-sessionid", "__Host-csrftoken", True, True, True, True, None, "Strict",
    ]  # fmt: skip
