"""What a key may do, as data: each endpoint names the scope it needs, and nothing else decides."""

from enum import StrEnum


class Scope(StrEnum):
    """One thing that a key may be allowed to do."""

    DEVICES_READ = "devices:read"
    DEVICES_WRITE = "devices:write"
    CREDENTIALS_READ = "credentials:read"
    CREDENTIALS_WRITE = "credentials:write"
    POLICIES_READ = "policies:read"
    POLICIES_WRITE = "policies:write"
    AUDIT_READ = "audit:read"
    CHECK = "check"
    OPEN_EVERYTHING = "open-everything"


MEANINGS: dict[Scope, str] = {
    Scope.DEVICES_READ: "See devices and groups.",
    Scope.DEVICES_WRITE: "Create, change and delete devices and groups.",
    Scope.CREDENTIALS_READ: "See which credentials devices have; never their secrets.",
    Scope.CREDENTIALS_WRITE: "Give devices credentials, rotate, revoke and delete them.",
    Scope.POLICIES_READ: "See policies and rules.",
    Scope.POLICIES_WRITE: "Create, change and delete policies and rules.",
    Scope.AUDIT_READ: "Search the audit log and see who is online.",
    Scope.CHECK: "Ask what would be decided, and why.",
    Scope.OPEN_EVERYTHING: "Make superuser devices, and rules that open every topic, where it may write.",
}
