from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.client import Client
from accounts.core.identity import DEFAULT_ORDER, IdentitySource, claims, identify

USERNAME, CLIENT_ID, CN = IdentitySource.USERNAME, IdentitySource.CLIENT_ID, IdentitySource.CERTIFICATE_CN
values = st.sampled_from(["", "a", "b", "ä"])
clients = st.builds(Client, client_id=values, username=values, cn=values)
orders = st.lists(st.sampled_from(IdentitySource), unique=True).map(tuple)


@pytest.mark.parametrize(
    ("client", "order", "claimed"),
    [
        (Client(client_id="c", username="u", cn="n"), DEFAULT_ORDER, [(USERNAME, "u")]),
        (Client(client_id="c", cn="n"), DEFAULT_ORDER, [(CLIENT_ID, "c"), (CN, "n")]),
        (Client(cn="n"), DEFAULT_ORDER, [(CN, "n")]),
        (Client(client_id="c"), DEFAULT_ORDER, [(CLIENT_ID, "c")]),
        (Client(), DEFAULT_ORDER, []),
        (
            Client(client_id="c", username="u", cn="n"),
            (CN, USERNAME, CLIENT_ID),
            [(CN, "n"), (USERNAME, "u")],
        ),
        (
            Client(client_id="c", username="u", cn="n"),
            (CLIENT_ID, CN, USERNAME),
            [(CLIENT_ID, "c"), (CN, "n"), (USERNAME, "u")],
        ),
        # what is not in the order is not looked at
        (Client(client_id="c", username="u", cn="n"), (CLIENT_ID,), [(CLIENT_ID, "c")]),
        (Client(client_id="c", username="u", cn="n"), (), []),
    ],
)
def test_a_client_claims_names_in_the_order_of_the_setting(client, order, claimed):
    assert claims(client, order) == claimed


@pytest.mark.parametrize(
    ("client", "found"),
    [
        (Client(username="known", client_id="stranger", cn="stranger"), "username known"),
        (Client(username="", client_id="known", cn="known"), "client_id known"),
        (Client(username="", client_id="stranger", cn="known"), "certificate_cn known"),
        (Client(username="", client_id="stranger", cn="stranger"), None),
        # a username that was sent is final
        (Client(username="misspelt", client_id="known", cn="known"), None),
        (Client(username="misspelt", client_id="misspelt", cn="known"), None),
        (Client(), None),
    ],
)
def test_the_first_claim_that_is_known_names_the_device(client, found):
    def find(source, value):
        return f"{source} {value}" if value == "known" else None

    assert identify(client, DEFAULT_ORDER, find) == found


def test_nothing_is_looked_up_after_the_device_is_found():
    asked = []

    def find(source, value):
        asked.append(source)
        return "device"

    assert identify(Client(client_id="c", cn="n"), DEFAULT_ORDER, find) == "device"
    assert asked == [CLIENT_ID]


def test_something_found_may_be_false():
    """What is found is compared with None, not tested for truth: an empty value is a value."""
    assert identify(Client(client_id="c", cn="n"), DEFAULT_ORDER, lambda source, value: "") == ""


@given(clients, orders)
def test_claims_follow_the_order_and_end_with_a_username(client, order):
    made = claims(client, order)
    sources = [source for source, _ in made]
    assert sources == [source for source in order if source in sources]
    assert all(value for _, value in made)
    assert USERNAME not in sources[:-1]
    if client.username and USERNAME in order:
        assert made[-1] == (USERNAME, client.username)


@given(clients, clients)
def test_with_the_default_order_a_username_is_the_only_thing_that_counts(client, other):
    if client.username:
        same_name = Client(username=client.username, client_id=other.client_id, cn=other.cn)
        assert claims(client, DEFAULT_ORDER) == claims(same_name, DEFAULT_ORDER)


@pytest.mark.parametrize("order", list(permutations(IdentitySource)))
def test_a_wrong_username_never_falls_back_on_what_comes_later(order):
    client = Client(username="misspelt", client_id="c", cn="n")
    later = order[order.index(USERNAME) + 1 :]
    assert identify(client, order, lambda source, _: source if source in later else None) is None


@pytest.mark.parametrize("source", IdentitySource)
def test_the_names_of_the_sources_are_those_of_the_setting(source):
    assert source in {"username", "client_id", "certificate_cn"}
