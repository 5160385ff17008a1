"""Commands that connect a device, ready to paste: filled in and quoted."""

from dataclasses import dataclass
from shlex import quote

from accounts.core.binding import Binding

HOST = "broker.example.com"
PORT = 1883
TOPIC = "test/hello"
MESSAGE = "hello"


@dataclass(frozen=True, slots=True)
class Snippet:
    """``name`` is also a part of element ids, so it holds no spaces."""

    name: str
    title: str
    text: str


def example_client_id(binding: Binding, bound_client_id: str, username: str) -> str:
    """A client id that the device’s binding admits."""
    if binding == Binding.EXACT:
        return bound_client_id
    if binding == Binding.PREFIX:
        return f"{bound_client_id}1"
    return username


def snippets(username: str, client_id: str, secret: str) -> tuple[Snippet, ...]:
    """The same login in four tools, for a POSIX shell and for Python. They hold the secret in clear."""
    login = f"-i {quote(client_id)} \\\n  -u {quote(username)} \\\n  -P {quote(secret)}"
    # With “=”, a value that begins with a dash is not taken for another option.
    mqttx = " \\\n  ".join(
        f"--{name}={quote(value)}"
        for name, value in (("client-id", client_id), ("username", username), ("password", secret))
    )
    return (
        Snippet(
            "mosquitto_sub",
            "Subscribe with mosquitto_sub",
            f"mosquitto_sub -h {HOST} -p {PORT} \\\n  {login} \\\n  -q 1 -t {TOPIC} -d",
        ),
        Snippet(
            "mosquitto_pub",
            "Publish with mosquitto_pub",
            f"mosquitto_pub -h {HOST} -p {PORT} \\\n  {login} \\\n  -q 1 -t {TOPIC} -m {MESSAGE} -d",
        ),
        Snippet(
            "mqttx",
            "Publish with MQTTX CLI",
            f"mqttx pub --hostname={HOST} --port={PORT} \\\n  {mqttx} \\\n"
            f"  --qos=1 --topic={TOPIC} --message={MESSAGE}",
        ),
        Snippet("paho", "Python with paho-mqtt 2", _paho(username, client_id, secret)),
    )


def _paho(username: str, client_id: str, secret: str) -> str:
    return f"""\
import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, reason_code, properties):
    print("connected:", reason_code)
    client.subscribe({TOPIC!r}, qos=1)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    print("subscribed:", reason_codes[0])
    client.publish({TOPIC!r}, {MESSAGE!r}, qos=1)


def on_message(client, userdata, message):
    print(message.topic, message.payload.decode())


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id={client_id!r})
client.username_pw_set({username!r}, {secret!r})
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.connect({HOST!r}, {PORT})
client.loop_forever()
"""
