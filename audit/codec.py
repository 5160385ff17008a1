"""Facts as bytes, for the spool: JSON, so that what lies on a disk can be read by people.

A record is the array of a fact's values, in the order of its fields. Fields are only ever added at
the end, so that a spool written before an upgrade can be read after it.
"""

import msgspec
from msgspec import structs

from audit.fact import Fact

_encode = msgspec.json.Encoder(uuid_format="hex").encode
_decode = msgspec.json.Decoder(Fact).decode


class BadRecord(ValueError):
    """Bytes that are no fact."""


def encode(fact: Fact) -> bytes:
    """The fact as one record. Half surrogate pairs, which no database holds, become “?”."""
    try:
        return _encode(fact)
    except UnicodeEncodeError:
        texts = {name: text for name, text in structs.asdict(fact).items() if type(text) is str}
        whole = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
        return _encode(structs.replace(fact, **whole))


def decode(record: bytes) -> Fact:
    """Raises BadRecord."""
    try:
        return _decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(str(error)) from error
