"""MQTT devices, made with paho-mqtt: what they do returns what came of it."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

ANSWER_SECONDS = 10.0
ACCEPTED = 0
NOT_AUTHORIZED = 5
"""CONNACK return codes (MQTT 3.1.1, table 3.1)."""
REFUSED = 0x80
"""SUBACK return code of a subscription that failed (MQTT 3.1.1, 3.9.3)."""

# paho tells MQTT 3.1.1's return codes as MQTT 5's reason codes.
_RETURN_CODES = {0: 0, 132: 1, 133: 2, 136: 3, 134: 4, 135: 5}


class MqttSilent(Exception):
    """The broker did not answer in time."""


class MqttDevice:
    """One device and its one connection. Messages that arrive wait in ``received``, as topic and payload."""

    def __init__(self, client_id: str, port: int, username: str | None = None, password: str | None = None):
        self.client_id = client_id
        self.received: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._port = port
        self._connacks: queue.Queue[int] = queue.Queue()
        self._subacks: queue.Queue[tuple[int, int]] = queue.Queue()
        self._disconnected = threading.Event()
        self._vanished = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    @property
    def online(self) -> bool:
        return self._client.is_connected() and not self._vanished

    def connect(self) -> int:
        """The return code of the CONNACK. Raises MqttSilent, OSError."""
        self._disconnected.clear()
        self._vanished = False
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        try:
            code = self._connacks.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            self._client.loop_stop()
            raise MqttSilent(f"no CONNACK for {self.client_id}") from None
        if code != ACCEPTED:
            self._client.loop_stop()
        return code

    def publish(self, topic: str, payload: str) -> None:
        """Waits for the PUBACK, which a refused message gets too (MQTT 3.1.1, 3.3.5). Raises MqttSilent."""
        sent = self._client.publish(topic, payload, qos=1)
        try:
            sent.wait_for_publish(ANSWER_SECONDS)
        except RuntimeError:
            raise MqttSilent(f"{self.client_id} is not connected") from None
        if not sent.is_published():
            raise MqttSilent(f"no PUBACK for {self.client_id}")

    def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        """The return code of the SUBACK: the granted QoS, or REFUSED. Raises MqttSilent."""
        result, number = self._client.subscribe(topic_filter, qos)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or number is None:
            raise MqttSilent(f"{self.client_id} is not connected")
        try:
            while True:
                answered, code = self._subacks.get(timeout=ANSWER_SECONDS)
                if answered == number:
                    return code
        except queue.Empty:
            raise MqttSilent(f"no SUBACK for {self.client_id}") from None

    def disconnect(self) -> None:
        """Says goodbye and closes the connection; does nothing without one."""
        if self.online:
            self._client.disconnect()
            self._disconnected.wait(ANSWER_SECONDS)
        self._client.loop_stop()

    def vanish(self) -> None:
        """Closes the socket without a DISCONNECT, like a device that loses its power."""
        self._vanished = True
        self._client.loop_stop()
        if (connection := self._client.socket()) is not None:
            connection.close()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        self._connacks.put(_RETURN_CODES.get(code.value, code.value))

    def _on_subscribe(self, client: Any, userdata: Any, number: int, codes: Any, properties: Any) -> None:
        self._subacks.put((number, codes[0].value))

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.received.put((message.topic, bytes(message.payload)))

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        self._disconnected.set()


@contextmanager
def connected(device: MqttDevice) -> Iterator[int]:
    """The device connects for as long as the block lasts; yields the return code of the CONNACK."""
    try:
        yield device.connect()
    finally:
        device.disconnect()
