"""Examples are questions that the rule itself would decide, if it were alone."""

import pytest
from hypothesis import given, settings

from accounts.core.admission import refusal
from accounts.core.binding import Binding
from acl.core.compiled import compile_rules
from acl.core.decide import authorize
from acl.core.examples import questions_about
from tests.acl.core.policies import principal, rule
from tests.acl.core.test_soundness import devices, rules


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("allow publish a/+/b", ["publish a/example/b"]),
        ("allow all a/#", ["publish a/example", "subscribe a/#"]),
        ("deny subscribe #", ["subscribe #"]),
        ("deny all ${clientid}/${attr.x}", ["publish pump-17/1", "subscribe pump-17/1"]),
        ("allow all ${attr.y}", []),
        ("allow all ${cn}", []),
    ],
)
def test_examples_are_filled_in_for_the_device(line, asked):
    device = principal(binding=Binding.EQUALS_USERNAME, attributes={"x": "1"})
    made = [f"{request.action} {request.topic}" for _, request in questions_about(rule(line), device)]
    assert made == asked


@pytest.mark.parametrize(
    ("known", "client_id"),
    [
        ({"binding": Binding.EQUALS_USERNAME}, "pump-17"),
        ({"binding": Binding.EXACT, "bound_client_id": "p"}, "p"),
        ({"binding": Binding.PREFIX, "bound_client_id": "fleet-"}, "fleet-example"),
        ({"binding": Binding.ANY}, "example"),
    ],
)
def test_the_client_is_one_that_the_device_admits(known, client_id):
    device = principal(**known)
    client, _ = next(questions_about(rule("allow publish a from 10.0.0.0/8"), device))
    assert client.client_id == client_id
    assert client.address == "10.0.0.0"
    assert refusal(client, device, 0.0) is None


@settings(max_examples=200)
@given(rules, devices)
def test_a_rule_alone_decides_its_own_examples(written, device):
    for client, request in questions_about(written, device):
        decision = authorize(client, device, request, [compile_rules([written])], 0.0)
        literal = written.literal and set(written.topic_filter) & set("+#")
        if not (literal and request.action == "publish"):
            assert decision.rule == written.ref
