"""Facts as they come in a day, many of them, none like another."""

from collections.abc import Iterator

from audit.codec import encode
from audit.fact import Fact, Kind
from benchmarks.devices import NODE, PUMPS, fleet_topic


def refusals(count: int, first: int = 0, now: float = 1_800_000_000.0) -> Iterator[Fact]:
    """Publishes that were denied, of so many clients with a topic each: none repeats another."""
    for number in range(first, first + count):
        device = PUMPS.device(number)
        yield Fact(
            Kind.AUTHORIZE,
            time=now + number / 1000,
            allowed=False,
            reason="no_rule_matched",
            device_id=number,
            device=device,
            client_id=device,
            username=device,
            address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            port=1024 + number % 60_000,
            listener_port=1883,
            protocol="mqtt",
            node=NODE.name,
            cluster="emqxcl",
            action="publish",
            topic=fleet_topic(device, 9),
            revision="0123456789abcdef",
        )


def records(count: int) -> Iterator[bytes]:
    """The same as a spool holds them."""
    return (encode(fact) for fact in refusals(count))
