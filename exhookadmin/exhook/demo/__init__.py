"""The demo: a real MQTT broker with a bridge that asks the endpoint as EMQX does, and some devices."""
