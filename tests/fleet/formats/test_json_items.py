import io

import pytest

from exhookadmin.fleet.formats.json_items import ITEM_CHARACTERS, json_items, json_lines
from exhookadmin.fleet.formats.malformed import Malformed


def items(text, of=json_items):
    return [(item.line, item.key, item.value) for item in of(io.BytesIO(text.encode()))]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("[]", []),
        ("{}", []),
        ("[1]", [(1, None, 1)]),
        (
            '[1, "a", null, {"b": [2]}]',
            [(1, None, 1), (1, None, "a"), (1, None, None), (1, None, {"b": [2]})],
        ),
        ("\n[\n1,\n\n2]\n", [(3, None, 1), (5, None, 2)]),
        ('{"a": 1, "b": [2, 3], "c": []}', [(1, "a", 1), (1, "b", 2), (1, "b", 3)]),
        ('{"a":\n{"b": 1},\n"c": [\n2\n]}', [(2, "a", {"b": 1}), (4, "c", 2)]),
        ("[-1.5e3,12345678901234567890]", [(1, None, -1500.0), (1, None, 12345678901234567890)]),
        ('["\\ud834\\udd1e\\n"]', [(1, None, "𝄞\n")]),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 65_536])
def test_items_come_with_their_lines(document, expected, chunk, monkeypatch):
    monkeypatch.setattr("exhookadmin.fleet.formats.json_items.CHUNK_BYTES", chunk)
    assert items(document) == expected


@pytest.mark.parametrize(
    ("document", "line", "reason"),
    [
        ("[1", 1, "cut off"),
        ("[\n\n", 3, "cut off"),
        ('["a', 1, "cut off"),
        ('[\n{"a": 1,\n', 3, "cut off"),
        ('{"a": [1,\n2', 2, "cut off"),
        ("[1 2]", 1, "expected , or ]"),
        ("[1,]", 1, "not JSON"),
        ('[\n{"a": 1,\n"b" 2}]' + " " * 100, 3, "':' delimiter"),
        ("[tru]" + " " * 100, 1, "not JSON"),
        ("[1]\n\nx", 3, "after the end"),
        ('[{"a": 1,\n "a": 2}]', 1, "members 1 and 2 of one object have the same name"),
        ('{"a": 1,\n"a": 2}', 2, "members 1 and 2 of one object have the same name"),
        ('["' + "x" * (ITEM_CHARACTERS + 10) + '"]', 1, "longer than"),
    ],
)
def test_what_is_no_json_is_refused_at_its_line(document, line, reason):
    with pytest.raises(Malformed, match=reason) as refused:
        items(document)
    assert refused.value.line == line


def test_what_comes_before_an_error_has_been_given():
    read = json_items(io.BytesIO(b"[1, 2, oh]"))
    assert [next(read).value, next(read).value] == [1, 2]
    with pytest.raises(Malformed):
        next(read)


def test_memory_holds_one_item_and_not_the_document():
    class Endless(io.BytesIO):
        """Says how far it was read."""

        given = 0

        def read(self, size=-1):
            self.given += size
            return (b"[" if self.given == size else b"") + b'{"a": 1},' * (size // 9)

    stream = Endless()
    read = json_items(stream)
    for _ in range(100):
        next(read)
    assert stream.given <= 2 * 65_536


def test_json_lines_are_numbered_and_must_be_objects():
    assert items('{"a": 1}\n\n{"b": 2}', json_lines) == [(1, None, {"a": 1}), (3, None, {"b": 2})]
    for text, line in [('{"a": 1}\n[2]', 2), ('{"a": 1} {"b": 2}', 1), ('{"a": 1}\n{"b":\n2}', 2)]:
        with pytest.raises(Malformed) as refused:
            items(text, json_lines)
        assert refused.value.line == line
