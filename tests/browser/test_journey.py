"""The first hour with the program: a real browser, a real MQTT device, a real broker, a real endpoint."""

import queue
import re
from io import StringIO

import pytest
from django.core.management import call_command
from playwright.sync_api import expect

from accounts.services import create_device, create_token
from acl.services import create_rule
from exhookadmin.exhook.demo.broker import running_broker
from exhookadmin.exhook.demo.devices import ACCEPTED, MqttDevice, connected
from tests.browser.conftest import Site, Visit
from tests.endpoint import StartEndpoint, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patient_broker")]

TOPIC = "site/pump-17/level"


def first_password() -> str:
    """What ``make run`` prints once."""
    output = StringIO()
    call_command("first_admin", stdout=output)
    found = re.search(r"user “admin” with the password (\S+)", output.getvalue())
    assert found
    return found[1]


def control_room() -> tuple[str, str]:
    """Another device, which hears everything below site/. Answers its name and token."""
    device = create_device("control-room")
    create_rule(device, "allow", "subscribe", "site/#")
    return device.username, create_token(device)[1]


def first_device(site: Site, name: str) -> str:
    """Adds a device where there is none; answers the token that is shown once."""
    site.click("nav >> text=Devices")
    site.click("text=Add the first device")
    site.page.fill("[name=username]", name)
    site.click("[name=_save]")
    return site.page.inner_text("#token")


def new_policy(site: Site, name: str, topic_filter: str) -> None:
    """A policy for everyone, with one rule that allows to publish."""
    site.open("/admin/acl/policy/add/")
    site.page.fill("[name=name]", name)
    site.page.check("[name=everyone]")
    site.click("text=Add another Rule")
    site.page.select_option("[name=rules-0-effect]", "allow")
    site.page.select_option("[name=rules-0-action]", "publish")
    site.page.fill("[name=rules-0-topic_filter]", topic_filter)
    site.click("[name=_save]")
    site.page.wait_for_selector("text=was added successfully")


def arrives(sender: MqttDevice, receiver: MqttDevice, payload: str) -> bool:
    """Whether a message gets through; a broker says nothing to a sender that may not."""
    sender.publish(TOPIC, payload)
    try:
        return receiver.received.get(timeout=1) == (TOPIC, payload.encode())
    except queue.Empty:
        return False


@pytest.mark.slow
def test_from_the_first_login_to_a_message_that_arrives(visit: Visit, start_endpoint: StartEndpoint) -> None:
    password = first_password()
    silent: list[str] = []
    with (
        start_endpoint() as endpoint,
        running_broker(endpoint.address, failed=silent.append) as port,
        visit() as site,
    ):
        site.log_in("admin", password)
        token = first_device(site, "pump-17")
        room_name, room_token = control_room()
        # The pump will publish below its own name; this rule forgets that.
        new_policy(site, "levels", "site/level")

        site.click("nav >> text=Audit log")
        site.click("#follow")
        rows = site.page.locator("#rows tr")
        room = MqttDevice(room_name, port, username=room_name, password=room_token)
        pump = MqttDevice("pump-17", port, username="pump-17", password=token)
        with connected(room) as listening, connected(pump) as code:
            assert listening == code == ACCEPTED
            expect(rows.filter(has_text="pump-17").filter(has_text="connected")).to_be_visible()
            assert room.subscribe("site/#", qos=1) == 1

            assert not arrives(pump, room, "denied")
            denied = rows.filter(has_text=TOPIC)
            expect(denied).to_contain_text("no rule")
            site.click(denied.locator("text=Why?"))
            site.page.wait_for_selector("text=Then and now are the same")
            why = site.page.url

            site.click("text=policy levels")
            site.page.fill("[name=rules-0-topic_filter]", "site/${clientid}/level")
            site.click("text=See what changes")
            ahead = site.page.locator("#what-changes")
            expect(ahead).to_contain_text("Newly allowed")
            expect(ahead).to_contain_text(f"publish {TOPIC}")
            site.click("[name=_save]")
            site.page.wait_for_selector("text=1 would be allowed now")

            wait_until(lambda: arrives(pump, room, "allowed"))
            site.page.goto(why)
            site.page.wait_for_selector("h2:has-text('Allowed')")
    assert silent == []
    assert token not in endpoint.log.read_text()
