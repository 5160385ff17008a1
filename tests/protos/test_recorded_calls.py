"""Requests as brokers sent them (EMQX 4.4.19, 5.3.2 and 5.10.1), byte for byte, and what they say.

The late shape of v2 (5.4 to 5.8) is written out by hand, and so are the answers.
"""

from __future__ import annotations

from base64 import b64decode

import pytest

from protos import exhook_v1_pb2 as v1
from protos import exhook_v2_pb2 as v2
from protos import exhook_v3_pb2 as v3

NODE = "emqx@127.0.0.1"
META_V1 = v1.RequestMeta(node=NODE, version="4.4.19", sysdescr="EMQX", cluster_name="emqxcl")
META_V2 = v2.RequestMeta(node=NODE, version="5.3.2", sysdescr="EMQX", cluster_name="emqxcl")
META_V3 = v3.RequestMeta(node=NODE, version="5.10.1", sysdescr="EMQX Enterprise", cluster_name="emqxcl")


def test_v1_uptime_is_words():
    request = v1.ProviderLoadedRequest.FromString(
        b64decode(
            "CjkKBjQuNC4xORIERU1RWBoUMSBtaW51dGVzLCA5IHNlY29uZHMiEzIwMjYtMTEtMjAgMDg6NTE6MzkSJgoOZW1xeEAxMjcuMC4w"
            "LjESBjQuNC4xORoERU1RWCIGZW1xeGNs"
        )
    )
    assert request == v1.ProviderLoadedRequest(
        broker=v1.BrokerInfo(
            version="4.4.19", sysdescr="EMQX", uptime="1 minutes, 9 seconds", datetime="2026-11-20 08:51:39"
        ),
        meta=META_V1,
    )


def test_v2_uptime_is_milliseconds():
    request = v2.ProviderLoadedRequest.FromString(
        b64decode(
            "CjUKBTUuMy4yEgRFTVFYGJwLIiMyMDI2LTExLTIwVDA4OjQzOjI5LjA1NzgwMzQyMCswMDowMBIlCg5lbXF4QDEyNy4wLjAuMRIF"
            "NS4zLjIaBEVNUVgiBmVtcXhjbA=="
        )
    )
    assert request == v2.ProviderLoadedRequest(
        broker=v2.BrokerInfo(
            version="5.3.2", sysdescr="EMQX", uptime=1436, datetime="2026-11-20T08:43:29.057803420+00:00"
        ),
        meta=META_V2,
    )


def test_v1_authenticate_behind_a_client_certificate():
    request = v1.ClientAuthenticateRequest.FromString(
        b64decode(
            "CmQKDmVtcXhAMTI3LjAuMC4xEgVjLXRscxoHdGxzdXNlciICcHcqCTEyNy4wLjAuMTCzRToEbXF0dFABWgZDbGllbnRiIENOPUNs"
            "aWVudCxPPUVNUSxTVD1oYW5nemhvdSxDPUNOEAEaJgoOZW1xeEAxMjcuMC4wLjESBjQuNC4xORoERU1RWCIGZW1xeGNs"
        )
    )
    assert request == v1.ClientAuthenticateRequest(
        clientinfo=v1.ClientInfo(
            node=NODE,
            clientid="c-tls",
            username="tlsuser",
            password="pw",
            peerhost="127.0.0.1",
            sockport=8883,
            protocol="mqtt",
            anonymous=True,
            cn="Client",
            dn="CN=Client,O=EMQ,ST=hangzhou,C=CN",
        ),
        result=True,
        meta=META_V1,
    )


def test_v2_authenticate():
    request = v2.ClientAuthenticateRequest.FromString(
        b64decode(
            "Cj0KDmVtcXhAMTI3LjAuMC4xEgZjLXY0dXAaBWFsaWNlIgZzZWNyZXQqCTEyNy4wLjAuMTDbDjoEbXF0dFABGiUKDmVtcXhAMTI3"
            "LjAuMC4xEgU1LjMuMhoERU1RWCIGZW1xeGNs"
        )
    )
    assert request == v2.ClientAuthenticateRequest(
        clientinfo=v2.ClientInfo(
            node=NODE,
            clientid="c-v4up",
            username="alice",
            password="secret",
            peerhost="127.0.0.1",
            sockport=1883,
            protocol="mqtt",
            anonymous=True,
        ),
        result=False,
        meta=META_V2,
    )
    assert request.clientinfo.peerport == 0


def test_v3_authenticate_tells_the_device_s_own_port():
    request = v3.ClientAuthenticateRequest.FromString(
        b64decode(
            "CkEKDmVtcXhAMTI3LjAuMC4xEgZjLXY0dXAaBWFsaWNlIgZzZWNyZXQqCTEyNy4wLjAuMTDbDjoEbXF0dFABaPvFAhoxCg5lbXF4"
            "QDEyNy4wLjAuMRIGNS4xMC4xGg9FTVFYIEVudGVycHJpc2UiBmVtcXhjbA=="
        )
    )
    assert request == v3.ClientAuthenticateRequest(
        clientinfo=v3.ClientInfo(
            node=NODE,
            clientid="c-v4up",
            username="alice",
            password="secret",
            peerhost="127.0.0.1",
            sockport=1883,
            protocol="mqtt",
            anonymous=True,
            peerport=41723,
        ),
        meta=META_V3,
    )


def test_v1_check_acl():
    request = v1.ClientCheckAclRequest.FromString(
        b64decode(
            "CjEKDmVtcXhAMTI3LjAuMC4xEgRzdWIxGgVhbGljZSoJMTI3LjAuMC4xMNsOOgRtcXR0EAEaB3QvZXhhY3QgASomCg5lbXF4QDEy"
            "Ny4wLjAuMRIGNC40LjE5GgRFTVFYIgZlbXF4Y2w="
        )
    )
    assert request == v1.ClientCheckAclRequest(
        clientinfo=v1.ClientInfo(
            node=NODE,
            clientid="sub1",
            username="alice",
            peerhost="127.0.0.1",
            sockport=1883,
            protocol="mqtt",
        ),
        type=v1.ClientCheckAclRequest.SUBSCRIBE,
        topic="t/exact",
        result=True,
        meta=META_V1,
    )


def test_v3_authorize_carries_no_password():
    request = v3.ClientAuthorizeRequest.FromString(
        b64decode(
            "CjcKDmVtcXhAMTI3LjAuMC4xEgRzdWIxGgVhbGljZSoJMTI3LjAuMC4xMNsOOgRtcXR0UAFoz6oDEAEaB3QvZXhhY3QgASoxCg5l"
            "bXF4QDEyNy4wLjAuMRIGNS4xMC4xGg9FTVFYIEVudGVycHJpc2UiBmVtcXhjbA=="
        )
    )
    assert request == v3.ClientAuthorizeRequest(
        clientinfo=v3.ClientInfo(
            node=NODE,
            clientid="sub1",
            username="alice",
            peerhost="127.0.0.1",
            sockport=1883,
            protocol="mqtt",
            anonymous=True,
            peerport=54607,
        ),
        type=v3.ClientAuthorizeRequest.SUBSCRIBE,
        topic="t/exact",
        result=True,
        meta=META_V3,
    )
    assert request.clientinfo.password == ""


def test_v2_connect_without_a_client_id():
    request = v2.ClientConnectRequest.FromString(
        b64decode(
            "CikKDmVtcXhAMTI3LjAuMC4xIgkxMjcuMC4wLjEo2w4yBE1RVFQ6ATVAPBolCg5lbXF4QDEyNy4wLjAuMRIFNS4zLjIaBEVNUVgi"
            "BmVtcXhjbA=="
        )
    )
    assert request == v2.ClientConnectRequest(
        conninfo=v2.ConnInfo(
            node=NODE, peerhost="127.0.0.1", sockport=1883, proto_name="MQTT", proto_ver="5", keepalive=60
        ),
        meta=META_V2,
    )
    assert request.conninfo.clientid == ""


def test_v3_connack_tells_the_assigned_client_id_among_its_properties():
    request = v3.ClientConnackRequest.FromString(
        b64decode(
            "Ci0KDmVtcXhAMTI3LjAuMC4xIgkxMjcuMC4wLjEo2w4yBE1RVFQ6ATVAPEj93gISB3N1Y2Nlc3MaFQoPUmVjZWl2ZS1NYXhpbXVt"
            "EgIzMhocChNUb3BpYy1BbGlhcy1NYXhpbXVtEgU2NTUzNRoVChBSZXRhaW4tQXZhaWxhYmxlEgExGh4KE01heGltdW0tUGFja2V0"
            "LVNpemUSBzEwNDg1NzYaJAofV2lsZGNhcmQtU3Vic2NyaXB0aW9uLUF2YWlsYWJsZRIBMRomCiFTdWJzY3JpcHRpb24tSWRlbnRp"
            "Zmllci1BdmFpbGFibGUSATEaIgodU2hhcmVkLVN1YnNjcmlwdGlvbi1BdmFpbGFibGUSATEaLgoaQXNzaWduZWQtQ2xpZW50LUlk"
            "ZW50aWZpZXISEFRKN3pIalVINllMRE5raUQiMQoOZW1xeEAxMjcuMC4wLjESBjUuMTAuMRoPRU1RWCBFbnRlcnByaXNlIgZlbXF4"
            "Y2w="
        )
    )
    assert request.conninfo.clientid == ""
    assert request.conninfo.peerport == 44925
    assert request.result_code == "success"
    assert {each.name: each.value for each in request.props} == {
        "Assigned-Client-Identifier": "TJ7zHjUH6YLDNkiD",
        "Maximum-Packet-Size": "1048576",
        "Receive-Maximum": "32",
        "Retain-Available": "1",
        "Shared-Subscription-Available": "1",
        "Subscription-Identifier-Available": "1",
        "Topic-Alias-Maximum": "65535",
        "Wildcard-Subscription-Available": "1",
    }
    assert request.meta == META_V3


# --- Topic filters: v1 and early v2 tell a bare QoS, late v2 and v3 the options. ---


def test_v1_subscribe():
    request = v1.ClientSubscribeRequest.FromString(
        b64decode(
            "CjEKDmVtcXhAMTI3LjAuMC4xEgRzdWIxGgVhbGljZSoJMTI3LjAuMC4xMNsOOgRtcXR0GgUKA20vMRoHCgNtLzIQARoHCgNtLzMQ"
            "AiImCg5lbXF4QDEyNy4wLjAuMRIGNC40LjE5GgRFTVFYIgZlbXF4Y2w="
        )
    )
    assert list(request.topic_filters) == [
        v1.TopicFilter(name="m/1", qos=0),
        v1.TopicFilter(name="m/2", qos=1),
        v1.TopicFilter(name="m/3", qos=2),
    ]


def test_early_v2_subscribe():
    request = v2.ClientSubscribeRequest.FromString(
        b64decode(
            "CjMKDmVtcXhAMTI3LjAuMC4xEgRzdWIxGgVhbGljZSoJMTI3LjAuMC4xMNsOOgRtcXR0UAEaBQoDbS8xGgcKA20vMhABGgcKA20v"
            "MxACIiUKDmVtcXhAMTI3LjAuMC4xEgU1LjMuMhoERU1RWCIGZW1xeGNs"
        )
    )
    assert list(request.topic_filters) == [
        v2.TopicFilter(name="m/1", qos=0),
        v2.TopicFilter(name="m/2", qos=1),
        v2.TopicFilter(name="m/3", qos=2),
    ]
    assert not any(each.HasField("subopts") for each in request.topic_filters)


def delimited(tag: int, content: bytes) -> bytes:
    """One length-delimited field by its tag byte, which is its number * 8 + 2."""
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def test_late_v2_subscribe():
    clientinfo = (
        delimited(0x12, b"meter-7")  # clientid = 2
        + delimited(0x1A, b"alice")  # username = 3
        + b"\x30\xdb\x0e"  # sockport = 6: 1883
        + b"\x68\xcf\xaa\x03"  # peerport = 13: 54607
    )
    shared = (
        delimited(0x0A, b"$share/g/t/+")  # name = 1
        + delimited(0x1A, b"\x08\x01\x18\x02\x20\x01\x28\x01")  # subopts = 3: qos 1, rh 2, rap 1, nl 1
    )
    plain = delimited(0x0A, b"t/0") + delimited(0x1A, b"")  # QoS 0: subopts is there, and empty

    request = v2.ClientSubscribeRequest.FromString(
        delimited(0x0A, clientinfo)  # clientinfo = 1
        + delimited(0x1A, shared)  # topic_filters = 3
        + delimited(0x1A, plain)
    )

    assert request == v2.ClientSubscribeRequest(
        clientinfo=v2.ClientInfo(clientid="meter-7", username="alice", sockport=1883, peerport=54607),
        topic_filters=[
            v2.TopicFilter(name="$share/g/t/+", subopts=v2.SubOpts(qos=1, rh=2, rap=1, nl=1)),
            v2.TopicFilter(name="t/0", subopts=v2.SubOpts()),
        ],
    )
    assert [each.HasField("subopts") for each in request.topic_filters] == [True, True]
    assert [each.qos for each in request.topic_filters] == [0, 0]


def test_late_v2_connect_tells_the_device_s_own_port():
    conninfo = delimited(0x12, b"meter-7") + b"\x48\xcf\xaa\x03"  # clientid = 2, peerport = 9
    request = v2.ClientConnectRequest.FromString(delimited(0x0A, conninfo))
    assert request.conninfo == v2.ConnInfo(clientid="meter-7", peerport=54607)


def test_v3_subscribe_with_all_options_and_user_properties():
    request = v3.ClientSubscribeRequest.FromString(
        b64decode(
            "CjUKDmVtcXhAMTI3LjAuMC4xEgRwdWIxGgNib2IqCTEyNy4wLjAuMTDbDjoEbXF0dFABaOvAAhIcChdTdWJzY3JpcHRpb24tSWRl"
            "bnRpZmllchIBNxoQCgR2NS9vGggIARgCIAEoASIxCg5lbXF4QDEyNy4wLjAuMRIGNS4xMC4xGg9FTVFYIEVudGVycHJpc2UiBmVt"
            "cXhjbCoHCgJzdRIBYg=="
        )
    )
    assert list(request.topic_filters) == [
        v3.TopicFilter(name="v5/o", subopts=v3.SubOpts(qos=1, rh=2, rap=1, nl=1))
    ]
    assert list(request.props) == [v3.Property(name="Subscription-Identifier", value="7")]
    assert list(request.user_props) == [v3.Property(name="su", value="b")]


@pytest.mark.parametrize(
    ("subscribed", "recorded"),
    [
        pytest.param(
            v1.SessionSubscribedRequest,
            "CjEKDmVtcXhAMTI3LjAuMC4xEgRzdWIxGgVhbGljZSoJMTI3LjAuMC4xMNsOOgRtcXR0EghzaGFyZWQvdBoFCAESAWciJgoOZW1x"
            "eEAxMjcuMC4wLjESBjQuNC4xORoERU1RWCIGZW1xeGNs",
            id="v1",
        ),
        pytest.param(
            v2.SessionSubscribedRequest,
            "CjMKDmVtcXhAMTI3LjAuMC4xEgRzdWIxGgVhbGljZSoJMTI3LjAuMC4xMNsOOgRtcXR0UAESCHNoYXJlZC90GgUIARIBZyIlCg5l"
            "bXF4QDEyNy4wLjAuMRIFNS4zLjIaBEVNUVgiBmVtcXhjbA==",
            id="early v2",
        ),
    ],
)
def test_a_shared_subscription_used_to_tell_its_group_in_the_options(subscribed, recorded):
    request = subscribed.FromString(b64decode(recorded))
    assert (request.topic, request.subopts.share, request.subopts.qos) == ("shared/t", "g", 1)


# --- Messages ---


def test_v1_publish():
    request = v1.MessagePublishRequest.FromString(
        b64decode(
            "CowBCg5lbXF4QDEyNy4wLjAuMRIgMDAwNjYwQjE1NzQ1OTA5Q0Y0OTUwMDAwMDFEMjAwMDAiBHB1YjEqB3QvZXhhY3QyCGhlbGxv"
            "IHEwOL7zmsGfNEIVCghwZWVyaG9zdBIJMTI3LjAuMC4xQhAKCHByb3RvY29sEgRtcXR0Qg8KCHVzZXJuYW1lEgNib2ISJgoOZW1x"
            "eEAxMjcuMC4wLjESBjQuNC4xORoERU1RWCIGZW1xeGNs"
        )
    )
    message = request.message
    assert (getattr(message, "from"), message.topic, message.qos) == ("pub1", "t/exact", 0)
    assert message.payload == b"hello q0"
    assert message.id == "000660B15745909CF495000001D20000"
    assert message.timestamp == 1_795_164_649_918
    assert dict(message.headers) == {"peerhost": "127.0.0.1", "protocol": "mqtt", "username": "bob"}


def test_v3_publish_tells_properties_and_repeated_user_properties():
    request = v3.MessagePublishRequest.FromString(
        b64decode(
            "CooBCg5lbXF4QDEyNy4wLjAuMRIgMDAwNjYwQjE2QzUxRTc4Q0Y0RUMwMDAwMDI4MDAwMDgYASIEcHViMSoEaC91cDIHeyJhIjox"
            "fTiourDBnzRCFQoIcGVlcmhvc3QSCTEyNy4wLjAuMUIQCghwcm90b2NvbBIEbXF0dEIPCgh1c2VybmFtZRIDYm9iEjEKDmVtcXhA"
            "MTI3LjAuMC4xEgY1LjEwLjEaD0VNUVggRW50ZXJwcmlzZSIGZW1xeGNsGhgKEENvcnJlbGF0aW9uLURhdGESBAABY2QaGgoOUmVz"
            "cG9uc2UtVG9waWMSCHJlcGx5L3RvGh0KF01lc3NhZ2UtRXhwaXJ5LUludGVydmFsEgI2MBodChhQYXlsb2FkLUZvcm1hdC1JbmRp"
            "Y2F0b3ISATEaIAoMQ29udGVudC1UeXBlEhBhcHBsaWNhdGlvbi9qc29uIgYKAWESATEiBgoBYRIBMiIICgLRjhIC0LE="
        )
    )
    assert (getattr(request.message, "from"), request.message.topic) == ("pub1", "h/up")
    assert request.message.payload == b'{"a":1}'
    assert [(each.name, each.value) for each in request.props] == [
        ("Correlation-Data", "\x00\x01cd"),
        ("Response-Topic", "reply/to"),
        ("Message-Expiry-Interval", "60"),
        ("Payload-Format-Indicator", "1"),
        ("Content-Type", "application/json"),
    ]
    assert [(each.name, each.value) for each in request.user_props] == [("a", "1"), ("a", "2"), ("ю", "б")]


# --- Answers ---


@pytest.mark.parametrize("contract", [v1, v2, v3], ids=["v1", "v2", "v3"])
def test_a_refusal_says_false_on_the_wire(contract):
    refusal = contract.ValuedResponse(type=contract.ValuedResponse.STOP_AND_RETURN, bool_result=False)
    assert refusal.SerializeToString() == b"\x08\x02\x18\x00"


@pytest.mark.parametrize("contract", [v1, v2, v3], ids=["v1", "v2", "v3"])
def test_an_unset_result_is_no_refusal(contract):
    answer = contract.ValuedResponse(type=contract.ValuedResponse.STOP_AND_RETURN)
    assert answer.SerializeToString() == b"\x08\x02"
    assert answer.WhichOneof("value") is None


@pytest.mark.parametrize("contract", [v1, v2, v3], ids=["v1", "v2", "v3"])
def test_an_answer_carries_a_result_or_a_message_never_both(contract):
    answer = contract.ValuedResponse(bool_result=True)
    answer.message.headers["allow_publish"] = "false"
    assert answer.WhichOneof("value") == "message"
    assert answer.SerializeToString() == b"\x22\x18\x42\x16\x0a\x0dallow_publish\x12\x05false"


@pytest.mark.parametrize("contract", [v1, v2, v3], ids=["v1", "v2", "v3"])
def test_the_hook_list(contract):
    answer = contract.LoadedResponse(hooks=[contract.HookSpec(name="message.publish", topics=["a/#"])])
    assert answer.SerializeToString() == b"\x0a\x16\x0a\x0fmessage.publish\x12\x03a/#"
