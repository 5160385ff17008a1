"""May this client connect as this device?"""

from collections.abc import Callable

from accounts.core.admission import refusal
from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, allow, deny
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.core.tokens import looks_like_token, token_matches

Verifier = Callable[[PrincipalCredential, str], bool | None]
"""Answers whether a stored password credential is this password; None when it cannot
tell without a slow hash and was not meant to compute one."""


def authenticate(
    client: Client,
    principal: Principal | None,
    now: float,
    verify_password: Verifier,
    throttled: bool = False,
) -> Decision | None:
    """The decision about a connect; None when only a slow verifier could make it.

    In this order, the first that fails denies: the device exists, is enabled, is inside
    its validity window, its client id binding holds, the address is inside its networks,
    it has not failed too often of late, its certificate's CN or a live credential verifies.
    """
    refused = refusal(client, principal, now)
    if refused is not None or principal is None:
        return deny(refused or Reason.UNKNOWN_DEVICE)
    if throttled:
        return deny(Reason.THROTTLED)
    if principal.certificate_cn and client.cn == principal.certificate_cn:
        return allow(Reason.CERTIFICATE_VERIFIED)
    if not principal.credential_required:
        return allow(Reason.NO_CREDENTIAL_REQUIRED)
    if not client.password:
        return deny(Reason.CREDENTIAL_MISSING)
    live = [credential for credential in principal.credentials if credential.live(now)]
    if not live:
        return deny(Reason.NO_LIVE_CREDENTIAL)
    return _verify(client.password, live, verify_password)


def _verify(secret: str, live: list[PrincipalCredential], verify_password: Verifier) -> Decision | None:
    for credential in live:
        if credential.kind == CredentialKind.TOKEN and token_matches(credential.encoded, secret):
            return allow(Reason.CREDENTIAL_VERIFIED, credential_id=credential.id)
    if looks_like_token(secret):
        return deny(Reason.CREDENTIAL_WRONG)
    undecided = False
    for credential in live:
        if credential.kind == CredentialKind.PASSWORD:
            verified = verify_password(credential, secret)
            if verified:
                return allow(Reason.CREDENTIAL_VERIFIED, credential_id=credential.id)
            undecided = undecided or verified is None
    return None if undecided else deny(Reason.CREDENTIAL_WRONG)
