import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.binding import (
    SEPARATORS,
    Binding,
    binding_holds,
    binding_problem,
    prescribed_client_id,
)

names = st.text(min_size=1, max_size=12)
stems = st.text(
    st.characters(exclude_characters=SEPARATORS, exclude_categories=["Cs"]), min_size=1, max_size=8
)
separators = st.sampled_from(SEPARATORS)


@pytest.mark.parametrize(
    ("binding", "bound", "client_id", "holds"),
    [
        # the device's username is “fleet1”
        (Binding.EQUALS_USERNAME, "", "fleet1", True),
        (Binding.EQUALS_USERNAME, "", "Fleet1", False),
        (Binding.EQUALS_USERNAME, "", "fleet1 ", False),
        (Binding.EQUALS_USERNAME, "", "fleet1-7", False),
        (Binding.EQUALS_USERNAME, "", "", False),
        # a client id kept from an earlier choice means nothing
        (Binding.EQUALS_USERNAME, "other", "other", False),
        (Binding.EXACT, "pump-17", "pump-17", True),
        (Binding.EXACT, "pump-17", "pump-170", False),
        (Binding.EXACT, "pump-17", "pump-1", False),
        (Binding.EXACT, "pump-17", "PUMP-17", False),
        (Binding.EXACT, "pump-17", "fleet1", False),
        (Binding.EXACT, "pümp-17", "pümp-17", True),
        # é composed and decomposed are two names: MQTT compares bytes (MQTT 5, 1.5.4)
        (Binding.EXACT, "caf\u00e9", "cafe\u0301", False),
        # an exact binding to nothing binds to nothing
        (Binding.EXACT, "", "", False),
        (Binding.EXACT, "", "x", False),
        (Binding.PREFIX, "fleet1-", "fleet1-7", True),
        (Binding.PREFIX, "fleet1-", "fleet1-ä", True),
        (Binding.PREFIX, "fleet1-", "fleet1-", False),
        (Binding.PREFIX, "fleet1-", "fleet1", False),
        (Binding.PREFIX, "fleet1-", "fleet10", False),
        (Binding.PREFIX, "fleet1-", "fleet10-7", False),
        (Binding.PREFIX, "fleet1-", "xfleet1-7", False),
        (Binding.PREFIX, "fleet1-", "", False),
        # what belongs to fleet1-eu- does not belong to fleet1-
        (Binding.PREFIX, "fleet1-", "fleet1-eu-7", False),
        (Binding.PREFIX, "fleet1-", "fleet1--", False),
        (Binding.PREFIX, "fleet1-eu-", "fleet1-eu-7", True),
        (Binding.PREFIX, "fleet1-eu-", "fleet1-7", False),
        (Binding.PREFIX, "site:a/", "site:a/7", True),
        # a bare prefix that reached the database some other way claims nothing
        (Binding.PREFIX, "fleet1", "fleet1", False),
        (Binding.PREFIX, "fleet1", "fleet1-eu", False),
        (Binding.PREFIX, "fleet1", "fleet17", False),
        (Binding.PREFIX, "", "anything", False),
        (Binding.PREFIX, "-", "-7", False),
        (Binding.ANY, "", "whatever", True),
        (Binding.ANY, "", "", True),
    ],
)
def test_a_client_id_is_bound_or_not(binding, bound, client_id, holds):
    assert binding_holds(binding, bound, "fleet1", client_id) is holds


@pytest.mark.parametrize(
    ("binding", "bound", "says"),
    [
        (Binding.EQUALS_USERNAME, "", None),
        (Binding.ANY, "", None),
        (Binding.EXACT, "pump-17", None),
        (Binding.EXACT, "fleet1", None),
        (Binding.PREFIX, "fleet1-", None),
        (Binding.PREFIX, "fleet1-eu-", None),
        (Binding.PREFIX, "site/berlin/", None),
        (Binding.EXACT, "", "“pump-17”"),
        (Binding.PREFIX, "", "“pump-17”"),
        (Binding.EQUALS_USERNAME, "pump-17", "Leave this empty"),
        (Binding.ANY, "pump-17", "Leave this empty"),
        (Binding.PREFIX, "fleet1", "“fleet1-”"),
        (Binding.PREFIX, "fleet1-eu", "“fleet1-eu-”"),
        (Binding.PREFIX, "fleet1*", "“fleet1*-”"),
        (Binding.PREFIX, "-", "“fleet1-”"),
        (Binding.PREFIX, "--/", "“fleet1-”"),
    ],
)
def test_a_binding_that_protects_nothing_is_refused_with_the_fix(binding, bound, says):
    problem = binding_problem(binding, bound)
    assert problem is None if says is None else says in str(problem)


def test_the_advice_for_a_bare_prefix_names_every_separator():
    problem = str(binding_problem(Binding.PREFIX, "fleet1"))
    assert all(separator in problem for separator in SEPARATORS)


def test_a_long_prefix_does_not_flood_the_message():
    assert len(str(binding_problem(Binding.PREFIX, "x" * 500))) < 300


@given(stem=stems, separator=separators, rest=stems)
def test_the_advised_separators_make_a_prefix_that_holds(stem, separator, rest):
    prefix = stem + separator
    assert binding_problem(Binding.PREFIX, prefix) is None
    assert binding_holds(Binding.PREFIX, prefix, "u", prefix + rest)
    assert not binding_holds(Binding.PREFIX, prefix, "u", stem)


@given(one=stems, other=stems, separator=separators, client_id=names)
def test_prefixes_with_one_separator_never_share_a_client_id(one, other, separator, client_id):
    """Neither by hitting each other's ids (“fleet1-” and “fleet1-eu-”) nor by an unlucky stem."""
    prefixes = {one + separator, other + separator, one + separator + other + separator}
    for candidate in (
        client_id,
        one + separator + client_id,
        one + separator + other + separator + client_id,
    ):
        owners = [prefix for prefix in prefixes if binding_holds(Binding.PREFIX, prefix, "u", candidate)]
        assert len(owners) <= 1


@given(
    binding=st.sampled_from(Binding),
    bound=st.text(max_size=8),
    username=names,
    client_id=st.text(max_size=12),
)
def test_what_cannot_be_saved_admits_nobody_unless_it_names_too_much(binding, bound, username, client_id):
    """An inconsistent row fails closed: the client ids of EXACT and PREFIX are never guessed."""
    if binding in (Binding.EXACT, Binding.PREFIX) and binding_problem(binding, bound):
        assert not binding_holds(binding, bound, username, client_id)


@given(username=names, client_id=names)
def test_equals_username_admits_one_client_id_only(username, client_id):
    assert binding_holds(Binding.EQUALS_USERNAME, "", username, client_id) is (client_id == username)


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("bound", ["", "pump-", "other"])
def test_a_prescribed_client_id_is_one_that_the_binding_allows(binding, bound):
    client_id = prescribed_client_id(binding, bound, "pump")
    if client_id:
        assert binding_holds(binding, bound, "pump", client_id)
        assert not binding_holds(binding, bound, "pump", client_id + "2")
    else:
        assert binding in (Binding.PREFIX, Binding.ANY) or not bound
