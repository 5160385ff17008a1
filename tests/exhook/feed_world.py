"""A small world for the tests of the change feed, and what its devices may do as a directory sees it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from accounts import services as accounts_services
from accounts.core.authenticate import authenticate
from accounts.core.client import Client
from accounts.core.tokens import encode_token
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl_services
from acl.core.decide import AccessRequest, authorize
from acl.core.rules import Action
from acl.models import Policy, Rule
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.feed import Feed, FeedState
from exhookadmin.exhook.service import new_provider
from tests.endpoint import wait_until

PUMP = Client(client_id="pump-17", username="pump-17", address="192.0.2.7")
# What somebody may be admitted by, or publish to: one a way in which a permission comes about.
OWN, ATTACHED, GROUP, EVERYONE = "own", "attached", "group", "everyone"
SPARE, OTHER_GROUP, ATTRIBUTE = "spare", "other-group", "berlin"
TOPICS = (OWN, ATTACHED, GROUP, EVERYONE, SPARE, OTHER_GROUP, ATTRIBUTE)
LOGIN, SECOND_LOGIN, STRANGER, BY_CN = "login", "second login", "stranger", "by CN"
AT_FIRST = frozenset({LOGIN, OWN, ATTACHED, GROUP, EVERYONE})

TOKEN = "xd_" + "a" * 40
SECOND_TOKEN = "xd_" + "b" * 40


@dataclass(frozen=True)
class World:
    """A device with a token, and rules that apply to it for four reasons; and what could be given to it."""

    device: Device
    other_device: Device
    group: DeviceGroup
    other_group: DeviceGroup
    credential: Credential
    own_rule: Rule
    attached: Policy
    of_group: Policy
    everyone: Policy
    spare: Policy


def new_world() -> World:
    """Stores it. The device may do what ``AT_FIRST`` says."""
    group, other_group = (DeviceGroup.objects.create(name=name) for name in ("pumps", "other"))
    device = accounts_services.create_device("pump-17", groups=[group])
    acl_services.create_rule(device, "allow", "publish", "${attr.site}/#")
    policies = {
        ATTACHED: acl_services.create_policy(ATTACHED, devices=[device]),
        GROUP: acl_services.create_policy(GROUP, groups=[group]),
        EVERYONE: acl_services.create_policy(EVERYONE, everyone=True),
        SPARE: acl_services.create_policy(SPARE),
        OTHER_GROUP: acl_services.create_policy(OTHER_GROUP, groups=[other_group]),
    }
    for topic, policy in policies.items():
        acl_services.create_rule(policy, "allow", "publish", f"{topic}/#")
    return World(
        device=device,
        other_device=accounts_services.create_device("pump-18"),
        group=group,
        other_group=other_group,
        credential=Credential.objects.create(device=device, kind="token", encoded=encode_token(TOKEN)),
        own_rule=acl_services.create_rule(device, "allow", "publish", f"{OWN}/#"),
        attached=policies[ATTACHED],
        of_group=policies[GROUP],
        everyone=policies[EVERYONE],
        spare=policies[SPARE],
    )


def may(directory: Directory) -> frozenset[str]:
    """What is permitted, by what the directory knows, asked as a call would ask it."""
    permitted = {topic for topic in TOPICS if _publishes(directory, PUMP, topic)}
    for name, client in {
        LOGIN: PUMP._replace(password=TOKEN),
        SECOND_LOGIN: PUMP._replace(password=SECOND_TOKEN),
        STRANGER: Client(client_id="stranger", username="stranger"),
        BY_CN: Client(cn="cn-17", client_id="cn-17"),
    }.items():
        decision = authenticate(client, directory.find(client).principal, time.time(), _no_passwords)
        if decision and decision.allow:
            permitted.add(name)
    return frozenset(permitted)


def _publishes(directory: Directory, client: Client, topic: str) -> bool:
    known = directory.find(client)
    request = AccessRequest(Action.PUBLISH, f"{topic}/a")
    return authorize(client, known.principal, request, known.rule_sets or (), time.time()).allow


def _no_passwords(*_: Any) -> bool:
    return False


@contextmanager
def running_feed(**options: Any) -> Iterator[tuple[Directory, Feed]]:
    """A directory as the settings want it, kept current by a feed that runs."""
    directory = new_provider(lambda fact: None).directory
    directory.load_policies()
    feed = Feed(directory, **options)
    feed.start()
    try:
        wait_until(lambda: feed.state != FeedState.LOST)
        yield directory, feed
    finally:
        feed.close()


def becomes(directory: Directory, expected: frozenset[str] | set[str]) -> Callable[[], bool]:
    """For ``wait_until``."""
    return lambda: may(directory) == expected
