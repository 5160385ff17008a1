"""A fingerprint changes with what the rules say, and with nothing else."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl.core.fingerprint import REVISION_CHARACTERS, fingerprint, revision
from acl.core.rules import Action, Effect, Rule

RULE = Rule(1, Effect.ALLOW, Action.PUBLISH, "up/#", source="policy fleet")
DENIAL = Rule(2, Effect.DENY, Action.ALL, "secret/#", source="policy fleet")


@pytest.mark.parametrize(
    "other",
    [
        replace(RULE, effect=Effect.DENY),
        replace(RULE, action=Action.ALL),
        replace(RULE, topic_filter="up/+"),
        replace(RULE, literal=True),
        replace(RULE, priority=1),
        replace(RULE, networks=(ip_network("192.0.2.0/24"),)),
    ],
    ids=["effect", "action", "filter", "literal", "priority", "networks"],
)
def test_whatever_decides_is_in_it(other: Rule):
    assert fingerprint([RULE]) != fingerprint([other])
    assert fingerprint([RULE, other]) not in (fingerprint([RULE]), fingerprint([other]))


@pytest.mark.parametrize("same", [replace(RULE, id=99), replace(RULE, source="policy renamed")])
def test_the_number_and_the_place_of_a_row_are_not(same: Rule):
    assert fingerprint([same]) == fingerprint([RULE])


def test_nor_is_the_order_in_which_rows_come():
    assert fingerprint([RULE, DENIAL]) == fingerprint([DENIAL, RULE])
    networks = (ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8"))
    assert fingerprint([replace(RULE, networks=networks)]) == fingerprint(
        [replace(RULE, networks=networks[::-1])]
    )


def test_it_is_the_same_in_every_process_and_release():
    """Stored with each decision: a release that computes it otherwise would make old ones unknown."""
    assert fingerprint([RULE, DENIAL]) == "92c51b29e0ef81d8571f61bc9471db8507f5df548af6a535f98518518502f013"
    assert revision([("fleet", True, [2, 1], fingerprint([RULE]))]) == "76b5ee3894d0029b"


policies = st.lists(
    st.tuples(
        st.text(max_size=3),
        st.booleans(),
        st.lists(st.integers(1, 3), max_size=2, unique=True),
        st.sampled_from(["", fingerprint([RULE]), fingerprint([DENIAL])]),
    ),
    max_size=4,
    unique_by=lambda policy: policy[0],
)


@given(policies, policies, st.randoms())
def test_a_revision_is_of_the_policies_together(one, two, chance):
    shuffled = [(name, everyone, groups[::-1], rules) for name, everyone, groups, rules in one]
    chance.shuffle(shuffled)
    assert revision(shuffled) == revision(one)
    assert len(revision(one)) == REVISION_CHARACTERS

    def canonical(policies):
        return {(name, everyone, frozenset(groups), rules) for name, everyone, groups, rules in policies}

    assert (revision(one) == revision(two)) is (canonical(one) == canonical(two))
