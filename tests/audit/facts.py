"""Facts of all kinds that say anything that a row can hold."""

from hypothesis import strategies as st

from audit.fact import Fact, Kind

NASTY = "\\\t\n\r\b\v\x1a N.,'\"{}%\u2028\ufeff"

texts = st.text(
    st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    max_size=12,
)
numbers = st.none() | st.integers(-(2**63), 2**63 - 1)
ports = st.integers(0, 2**31 - 1)
addresses = st.sampled_from(["", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "fe80::1%eth0", "undefined"])
facts = st.builds(
    Fact,
    st.sampled_from(Kind),
    time=st.floats(-1e10, 2e11, allow_nan=False),
    allowed=st.none() | st.booleans(),
    reason=texts,
    device_id=numbers,
    device=texts,
    client_id=texts,
    username=texts,
    address=addresses,
    port=ports,
    listener_port=ports,
    protocol=texts,
    cn=texts,
    node=texts,
    cluster=texts,
    action=texts.map(lambda text: text[:10]),
    topic=texts,
    rule_id=numbers,
    rule=texts,
    credential_id=numbers,
    detail=texts,
    revision=texts,
    id=st.uuids(version=4),
)
