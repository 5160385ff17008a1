"""The memory of devices: what it holds and what it knows about whose names those are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.identity import IdentitySource
from accounts.core.principal import Principal
from acl.rulesets import PolicyBook
from exhookadmin.exhook.memory import STRANGERS, Change, DeviceMemory, Known, Name

BOOK = PolicyBook()


def name(text: str, source: IdentitySource = IdentitySource.USERNAME) -> Name:
    return source, text


def known(device_id: int | None, loaded_at: float = 0.0) -> Known:
    principal = None if device_id is None else Principal(device_id, f"device-{device_id}")
    return Known(principal, BOOK, loaded_at)


def remember(memory: DeviceMemory, of: Name, entry: Known) -> Known:
    memory.remember(of, entry, memory.generation)
    return entry


def consistent(memory: DeviceMemory) -> bool:
    """Whether each held name is noted once with its device, and nothing else is."""
    noted = sorted((device, one) for device, names in memory._names_of.items() for one in names)
    held = sorted(
        (entry.principal.id, one) for one, entry in memory._devices.items() if entry.principal is not None
    )
    return noted == held and () not in memory._names_of.values()


EVERY_NAME = [name("pump-17", source) for source in IdentitySource]


def test_a_change_drops_the_entries_under_every_name_of_the_device():
    memory = DeviceMemory(10)
    for one in EVERY_NAME:
        remember(memory, one, known(17))
    other = remember(memory, name("pump-18"), known(18))
    assert len(memory) == 4
    memory.drop(Change(device_ids=frozenset({17})))
    assert [memory.recall(one) for one in EVERY_NAME] == [None, None, None]
    assert memory.recall(name("pump-18")) is other
    assert consistent(memory)


def test_a_name_that_passes_to_another_device_goes_with_that_one():
    memory = DeviceMemory(10)
    remember(memory, name("pump-17"), known(17))
    passed = remember(memory, name("pump-17"), known(18))
    memory.drop(Change(device_ids=frozenset({17})))
    assert memory.recall(name("pump-17")) is passed
    memory.drop(Change(device_ids=frozenset({18})))
    assert memory.recall(name("pump-17")) is None


def test_a_name_is_a_device_s_or_nobody_s_and_never_both():
    memory = DeviceMemory(10)
    remember(memory, name("pump-17"), known(None))
    device = remember(memory, name("pump-17"), known(17))
    assert memory.recall(name("pump-17")) is device
    memory.drop(Change(device_ids=frozenset({17})))
    assert memory.recall(name("pump-17")) is None
    remember(memory, name("pump-17"), known(17))
    stranger = remember(memory, name("pump-17"), known(None))
    assert (memory.recall(name("pump-17")), len(memory)) == (stranger, 0)
    assert consistent(memory)


def test_only_the_entry_that_is_still_there_is_renewed():
    memory = DeviceMemory(10)
    old = remember(memory, name("pump-17"), known(17))
    renewed = replace(old, book=PolicyBook())
    memory.renew(name("pump-17"), old, renewed)
    assert memory.recall(name("pump-17")) is renewed
    memory.renew(name("pump-17"), old, known(17, 99.0))
    assert memory.recall(name("pump-17")) is renewed
    memory.drop(Change(device_ids=frozenset({17})))
    memory.renew(name("pump-17"), renewed, renewed)
    assert memory.recall(name("pump-17")) is None
    assert consistent(memory)


@pytest.mark.parametrize(
    ("change", "of_device", "of_stranger"),
    [
        (Change(), False, False),
        (Change(device_ids=frozenset({17})), True, False),
        (Change(device_ids=frozenset({18})), False, False),
        (Change(new_names=True), False, True),
        (Change(policies=True), False, False),
        (Change(everything=True), True, True),
    ],
)
def test_whom_a_change_concerns(change: Change, of_device: bool, of_stranger: bool):
    assert change.concerns(known(17)) is of_device
    assert change.concerns(known(None)) is of_stranger
    # What it concerns is what it drops.
    memory = DeviceMemory(10)
    remember(memory, name("pump-17"), known(17))
    remember(memory, name("nobody"), known(None))
    memory.drop(change)
    assert (memory.recall(name("pump-17")) is None) is of_device
    assert (memory.recall(name("nobody")) is None) is of_stranger


def test_a_million_names_take_the_room_there_is():
    memory = DeviceMemory(1_000)
    most = strangers = 0
    for number in range(500_000):
        remember(memory, name(f"pump-{number}"), known(number))
        remember(memory, name(f"nobody-{number}"), known(None))
        most, strangers = max(most, len(memory)), max(strangers, len(memory._strangers))
    assert (most, strangers, len(memory._names_of)) == (1_000, STRANGERS, 1_000)


some_names = st.builds(name, st.sampled_from("abc"), st.sampled_from(IdentitySource))
some_ids = st.integers(1, 3)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("remember"), some_names, st.none() | some_ids),
        st.tuples(st.just("renew"), some_names, st.none()),
        st.tuples(st.just("recall"), some_names, st.none()),
        st.tuples(
            st.just("drop"),
            st.builds(
                Change,
                device_ids=st.frozensets(some_ids),
                new_names=st.booleans(),
                everything=st.sampled_from([False, False, False, True]),
            ),
            st.none(),
        ),
    ),
    max_size=60,
)


@given(st.integers(1, 5), actions)
def test_names_and_devices_stay_in_step_whatever_happens(capacity: int, happened: list[tuple]):
    memory = DeviceMemory(capacity)
    for what, subject, device_id in happened:
        if what == "remember":
            entry = remember(memory, subject, known(device_id))
            assert memory.recall(subject) is entry
        elif what == "renew":
            old = memory.recall(subject)
            if old is not None:
                memory.renew(subject, old, replace(old, loaded_at=1.0))
        elif what == "recall":
            memory.recall(subject)
        else:
            memory.drop(subject)
            assert not any(subject.concerns(entry) for entry in memory._devices.values())
            assert not any(subject.concerns(entry) for entry in memory._strangers.values())
        assert len(memory) <= capacity
        assert consistent(memory)
