import pprint

import pytest

from accounts.core.client import Client

CLIENT = Client(
    client_id="pump-17", username="pump", password="hunter2-secret", address="192.0.2.1", port=40000
)


@pytest.mark.parametrize(
    "shown",
    [
        repr(CLIENT),
        str(CLIENT),
        f"{CLIENT} {CLIENT!s} {CLIENT!r}",
        repr([CLIENT]),
        pprint.pformat({1: CLIENT}),
    ],
    ids=["repr", "str", "f-string", "in a list", "pprint"],
)
def test_a_client_is_shown_without_its_password(shown):
    assert "pump-17" in shown
    assert "hunter2" not in shown


def test_what_the_broker_did_not_say_is_empty():
    assert Client() == Client(
        client_id="", username="", password="", address="", port=0, listener_port=0,
        protocol="", mountpoint="", cn="", dn="", node="",
    )  # fmt: skip


def test_a_client_does_not_change():
    with pytest.raises(AttributeError):
        CLIENT.username = "other"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        CLIENT.extra = 1  # type: ignore[attr-defined]


def test_clients_are_values():
    same = Client("pump-17", "pump", "hunter2-secret", "192.0.2.1", 40000)
    assert same == CLIENT
    assert len({CLIENT, same}) == 1
    assert Client(client_id="pump-17") != Client(username="pump-17")
