"""Stored forms of credentials as this program exports them."""

from accounts.core.principal import CredentialKind
from accounts.core.tokens import encoded_token_problem
from accounts.stored_hashes import hash_problem
from exhookadmin.fleet.records import CredentialRecord


def credential_problem(credential: CredentialRecord) -> str | None:
    """Why this cannot be stored; None when it can."""
    if credential.plain:
        return None
    if credential.kind == CredentialKind.TOKEN:
        return encoded_token_problem(credential.encoded)
    return hash_problem(credential.encoded)
