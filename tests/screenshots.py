"""Makes the pictures of the documentation: ``make screenshots``, or this module with a directory.

A throw-away site with a small waterworks in it, opened in the Chromium of the browser tests. Look at the
pictures before they are committed: nothing else tells whether a page is beautiful.
"""

import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
# Playwright's event loop lives in this thread; Django would refuse to query beside it.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from pytest_django.live_server_helper import LiveServer  # noqa: E402

from accounts import services  # noqa: E402
from accounts.models import Device, DeviceGroup  # noqa: E402
from acl import services as acl  # noqa: E402
from acl.models import Policy  # noqa: E402
from audit.fact import Fact, Kind  # noqa: E402
from audit.models import Event  # noqa: E402
from audit.writer import write_facts  # noqa: E402
from exhookadmin.exhook.demo.endpoint import running_endpoint  # noqa: E402
from tests.chromium import find_chromium  # noqa: E402
from tests.endpoint import child_environment  # noqa: E402

PASSWORD = "correct horse battery staple"
DIRECTORY = Path(__file__).resolve().parent.parent / "docs" / "screenshots"
NODES = ("emqx@one", "emqx@two")
HOUR = 3600.0
MOST_BYTES = 150_000

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 760}}
DARK: dict[str, Any] = {**DESK, "color_scheme": "dark"}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}


@dataclass(frozen=True, slots=True)
class Picture:
    """A page as a file of that name shows it. ``script`` prepares it, in the page."""

    name: str
    path: str
    window: dict[str, Any]
    script: str = ""


def pictures() -> list[Picture]:
    """What is shown. The waterworks must be there."""
    pump, levels = Device.objects.get(username="pump-07"), Policy.objects.get(name="levels")
    denied = Event.objects.filter(kind=Kind.AUTHORIZE, device="pump-07").order_by("-time")[0]
    device = f"/admin/accounts/device/{pump.pk}/change/"
    why = f"/admin/explain/?event={denied.pk}"
    to_answer = "document.querySelector('#answer')?.scrollIntoView()"
    to_rules = "document.querySelector('#rules-group').scrollIntoView()"
    return [
        Picture("dashboard", "/admin/", DESK),
        Picture("dashboard-dark", "/admin/", DARK),
        Picture("dashboard-phone", "/admin/", PHONE),
        Picture("devices", "/admin/accounts/device/", DESK),
        Picture("devices-phone", "/admin/accounts/device/", PHONE),
        Picture("device", device, DESK),
        Picture("policy", f"/admin/acl/policy/{levels.pk}/change/", DESK, to_rules),
        Picture("explorer", "/admin/explorer/", DESK),
        Picture("explorer-dark", "/admin/explorer/?device=pump-07", DARK),
        Picture("explorer-phone", "/admin/explorer/", PHONE),
        Picture("why", why, DESK),
        Picture("why-dark", why, DARK),
        Picture("why-phone", why, PHONE, to_answer),
        Picture("strangers", "/admin/strangers/", DESK),
    ]


def build_waterworks() -> None:
    """Forty devices in three groups, their policies, and a day of what happened to them."""
    chance = random.Random(17)
    pumps, meters, service = (
        services.save_group(DeviceGroup(name=name)) for name in ("pumps", "meters", "service")
    )
    levels = acl.create_policy("levels", groups=[pumps, meters], description="What the works measures.")
    acl.create_rule(levels, "allow", "publish", "works/${clientid}/#", note="Each below its own name.")
    acl.create_rule(levels, "allow", "subscribe", "works/${clientid}/set", note="Set points for itself.")
    acl.create_rule(levels, "deny", "publish", "works/+/set", priority=10, note="Nobody sets itself.")
    watching = acl.create_policy("watching", groups=[service])
    acl.create_rule(watching, "allow", "subscribe", "works/#")
    names = [
        *((f"pump-{number:02}", pumps, "Pump by the river") for number in range(1, 17)),
        *((f"meter-{number:02}", meters, "Flow meter") for number in range(1, 21)),
        *((f"panel-{number}", service, "Control room") for number in range(1, 5)),
    ]
    devices = []
    for name, group, description in names:
        device = services.create_device(
            name, groups=[group], description=description, enabled=name not in ("pump-12", "meter-19")
        )
        services.create_token(device, "installed in spring")
        devices.append(device)
    now = time.time()
    facts = [
        Fact(Kind.PROVIDER_LOADED, time=now - 24 * HOUR, node=node, node_version="5.8.6") for node in NODES
    ]
    for number, device in enumerate(devices):
        facts += _day_of(device, number, now, chance)
    facts += _strangers(now, chance)
    write_facts(sorted(facts, key=lambda fact: fact.time))
    for device in Device.objects.filter(enabled=True):
        seen = datetime.fromtimestamp(now - chance.uniform(0, HOUR), UTC)
        Device.objects.filter(pk=device.pk).update(last_seen_at=seen)


def _day_of(device: Device, number: int, now: float, chance: random.Random) -> Iterator[Fact]:
    own: dict[str, Any] = {
        "device": device.username, "device_id": device.pk, "client_id": device.username,
        "username": device.username, "address": f"198.51.100.{10 + number}", "node": NODES[number % 2],
        "port": 40_000 + number, "listener_port": 8883, "protocol": "mqtt",
    }  # fmt: skip
    if not device.enabled:
        for hour in range(6):
            yield Fact(
                Kind.AUTHENTICATE,
                time=now - hour * HOUR - number,
                allowed=False,
                reason="device_disabled",
                **own,
            )
        return
    began = now - chance.uniform(16, 23) * HOUR
    yield Fact(Kind.CONNECTED, time=began, **own)
    if number % 5 == 3:
        left = began + chance.uniform(2, 10) * HOUR
        yield Fact(Kind.DISCONNECTED, time=left, detail=chance.choice(["normal", "keepalive_timeout"]), **own)
        if number % 2:
            yield Fact(Kind.CONNECTED, time=now - chance.uniform(0.01, 1) * HOUR, **own)
    wrong: dict[str, Any] = {"allowed": False, "action": "publish"}
    rule = "deny publish works/+/set (priority 10) (policy levels)"
    if device.username in ("pump-07", "meter-04"):
        for back in range(9):
            yield Fact(
                Kind.AUTHORIZE, time=now - back * chance.uniform(0.6, 2.2) * HOUR, reason="rule_denies",
                topic=f"works/{device.username}/set", rule=rule,
                **wrong, **own,
            )  # fmt: skip
    if device.username == "meter-11":
        for back in range(5):
            yield Fact(
                Kind.AUTHORIZE, time=now - 400 - back * 2 * HOUR, reason="no_rule_matched",
                topic="works/flow/11", **wrong, **own,
            )  # fmt: skip
    if device.username == "pump-03":
        for back in range(12):
            yield Fact(Kind.AUTHENTICATE, time=now - 90 - back * 0.7 * HOUR, allowed=False,
                       reason="credential_wrong", **own)  # fmt: skip


def _strangers(now: float, chance: random.Random) -> Iterator[Fact]:
    for name, address, times in (
        ("pump-17", "198.51.100.77", 14), ("admin", "203.0.113.5", 22), ("meter-21", "198.51.100.81", 3),
    ):  # fmt: skip
        for _ in range(times):
            yield Fact(
                Kind.AUTHENTICATE, time=now - chance.uniform(0.05, 20) * HOUR, allowed=False,
                reason="unknown_device", client_id=name, username=name, address=address, node=NODES[0],
                protocol="mqtt", listener_port=8883,
            )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def waterworks() -> Iterator[str]:
    """The throw-away site and its endpoint. Yields its address; “admin” may do everything."""
    runner = DiscoverRunner(verbosity=0, interactive=False)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    settings.EXHOOK_METRICS = f"127.0.0.1:{_free_port()}"
    environment = child_environment(settings.VAR_DIR)
    arguments = ["--workers", "2", "--metrics", settings.EXHOOK_METRICS]
    try:
        # Before anything has happened: an endpoint that comes back does not know who is still online.
        with running_endpoint(settings.VAR_DIR / "endpoint.log", arguments, environment):
            User.objects.create_superuser("admin", password=PASSWORD)
            build_waterworks()
            server = LiveServer("localhost")
            yield server.url
            server.stop()
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()


def take(browser: Browser, site: str, window: dict[str, Any], wanted: list[Picture], directory: Path) -> None:
    """Takes the pictures of one window. Raises ValueError for one that is too big to keep."""
    context = browser.new_context(**window, timezone_id="Europe/Berlin", reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{site}/admin/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")
    for picture in wanted:
        page.goto(site + picture.path)
        page.wait_for_load_state("networkidle")
        if picture.script:
            page.evaluate(picture.script)
        path = directory / f"{picture.name}.png"
        page.screenshot(path=path, animations="disabled", caret="hide")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, and may have {MOST_BYTES}")
        print(path)
    context.close()


def main(directory: Path) -> None:
    chromium = find_chromium()
    if chromium is None:
        sys.exit("No Chromium found: run make browser, or name one with CHROMIUM=/path/to/chrome.")
    directory.mkdir(parents=True, exist_ok=True)
    with waterworks() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for window in (DESK, DARK, PHONE):
            take(browser, site, window, [each for each in pictures() if each.window is window], directory)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
