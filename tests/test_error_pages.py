"""What somebody sees when something is amiss: what it means and what to do, from files of this site alone."""

from typing import Any

import pytest
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.views.csrf import csrf_failure
from django.views.defaults import bad_request, server_error

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(rf: RequestFactory) -> HttpRequest:
    return rf.get("/admin/")


def test_nothing_at_this_address(client: Client) -> None:
    answer = client.get("/no/<script>/such/page")
    assert answer.status_code == 404
    assert b"There is nothing at this address" in answer.content
    assert b"<script" not in answer.content


def test_a_name_that_is_not_allowed(client: Client) -> None:
    answer = client.get("/admin/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert b"ALLOWED_HOSTS" in answer.content
    assert b"elsewhere" not in answer.content


def test_a_form_without_its_cookie() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"})
    assert answer.status_code == 403
    assert b"This form is out of date" in answer.content


def test_an_error_of_ours(request_: HttpRequest) -> None:
    answer = server_error(request_)
    assert answer.status_code == 500
    assert b"Something went wrong here" in answer.content


def test_they_need_no_script_and_no_style_of_their_own(client: Client, request_: HttpRequest) -> None:
    pages: list[Any] = [
        client.get("/nowhere"),
        server_error(request_),
        bad_request(request_, DisallowedHost()),
        csrf_failure(request_),
    ]
    for page in pages:
        text = page.content.decode()
        assert "exhookadmin/plain.css" in text
        assert "<script" not in text
        assert "style=" not in text
        assert "<style" not in text
        assert "DEBUG" not in text
