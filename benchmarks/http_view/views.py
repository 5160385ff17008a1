"""The same models and the same decisions as the endpoint's, asked by HTTP with JSON.

Each request reads the device, as such a view does; the shared policies it compiles once and keeps,
which is more than most do, and without a change feed would be wrong after the first change.
"""

import json
import time
from functools import cache

from django.http import HttpRequest, JsonResponse

from accounts.core.authenticate import authenticate as decide_authenticate
from accounts.core.client import Client
from accounts.core.identity import DEFAULT_ORDER, identify
from accounts.core.principal import PrincipalCredential
from accounts.passwords import password_matches
from accounts.principals import find_device, principal_of
from acl.core.decide import AccessRequest
from acl.core.decide import authorize as decide_authorize
from acl.core.rules import Action
from acl.rulesets import PolicyBook, load_own_rules, load_policy_book


def authenticate(request: HttpRequest) -> JsonResponse:
    """EMQX's HTTP authenticator: may this client connect?"""
    client = _client_of(json.loads(request.body))
    device = identify(client, DEFAULT_ORDER, find_device)
    principal = principal_of(device) if device else None
    decision = decide_authenticate(client, principal, time.time(), _verify)
    return _answer(decision is not None and decision.allow)


def authorize(request: HttpRequest) -> JsonResponse:
    """EMQX's HTTP authorizer: may this client publish or subscribe?"""
    asked = json.loads(request.body)
    client = _client_of(asked)
    device = identify(client, DEFAULT_ORDER, find_device)
    if device is None:
        return _answer(False)
    principal = principal_of(device)
    policies = [policy.pk for policy in device.policies.all()]
    rules = _policies().rule_sets(principal, policies, load_own_rules(device))
    access = AccessRequest(Action(asked["action"]), asked["topic"])
    return _answer(decide_authorize(client, principal, access, rules, time.time()).allow)


@cache
def _policies() -> PolicyBook:
    return load_policy_book()


def _client_of(asked: dict[str, str]) -> Client:
    return Client(
        client_id=asked["clientid"],
        username=asked["username"],
        password=asked.get("password", ""),
        address=asked["peerhost"],
    )


def _verify(credential: PrincipalCredential, password: str) -> bool:
    return password_matches(credential.encoded, password)


def _answer(allow: bool) -> JsonResponse:
    response = JsonResponse({"result": "allow" if allow else "deny"})
    # Without it gunicorn sends chunks, which takes the caller longer to read.
    response["Content-Length"] = str(len(response.content))
    return response
