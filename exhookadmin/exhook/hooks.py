"""The hooks of EMQX's ExHook feature: their names, and the gRPC method that each one calls."""

from enum import StrEnum


class Hook(StrEnum):
    """Every point at which EMQX may call, in the spelling of v2 and v3.

    The two provider hooks are always called; of the others only those that the answer to
    ``OnProviderLoaded`` declares.
    """

    PROVIDER_LOADED = "provider.loaded"
    PROVIDER_UNLOADED = "provider.unloaded"
    CLIENT_CONNECT = "client.connect"
    CLIENT_CONNACK = "client.connack"
    CLIENT_CONNECTED = "client.connected"
    CLIENT_DISCONNECTED = "client.disconnected"
    CLIENT_AUTHENTICATE = "client.authenticate"
    CLIENT_AUTHORIZE = "client.authorize"
    CLIENT_SUBSCRIBE = "client.subscribe"
    CLIENT_UNSUBSCRIBE = "client.unsubscribe"
    SESSION_CREATED = "session.created"
    SESSION_SUBSCRIBED = "session.subscribed"
    SESSION_UNSUBSCRIBED = "session.unsubscribed"
    SESSION_RESUMED = "session.resumed"
    SESSION_DISCARDED = "session.discarded"
    SESSION_TAKENOVER = "session.takenover"
    SESSION_TERMINATED = "session.terminated"
    MESSAGE_PUBLISH = "message.publish"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_ACKED = "message.acked"
    MESSAGE_DROPPED = "message.dropped"


MESSAGE_HOOKS = frozenset(
    {Hook.MESSAGE_PUBLISH, Hook.MESSAGE_DELIVERED, Hook.MESSAGE_ACKED, Hook.MESSAGE_DROPPED}
)
"""Those that topic filters narrow: EMQX calls them for the topics that the declaration names."""

V1_SPELLING = {
    Hook.CLIENT_AUTHORIZE: "client.check_acl",
    Hook.SESSION_TAKENOVER: "session.takeovered",
}

HOOK_OF_METHOD: dict[str, Hook] = {
    "On" + "".join(part.capitalize() for part in hook.split(".")): hook for hook in Hook
} | {
    "OnClientCheckAcl": Hook.CLIENT_AUTHORIZE,
    "OnSessionTakeovered": Hook.SESSION_TAKENOVER,
}
