from dataclasses import FrozenInstanceError

import pytest

from accounts.core.decision import Decision, Reason, RuleRef, allow, deny

RULE = RuleRef(7, "policy fleet", "deny publish secret/#")


def test_a_denial_and_a_permission_say_what_they_are():
    assert deny(Reason.UNKNOWN_DEVICE) == Decision(allow=False, reason=Reason.UNKNOWN_DEVICE)
    assert deny(Reason.RULE_DENIES, RULE) == Decision(False, Reason.RULE_DENIES, RULE)
    assert allow(Reason.RULE_ALLOWS, RULE) == Decision(True, Reason.RULE_ALLOWS, RULE)
    assert allow(Reason.CREDENTIAL_VERIFIED, credential_id=3).credential_id == 3
    assert deny(Reason.CREDENTIAL_WRONG).credential_id is None


@pytest.mark.parametrize("reason", Reason)
def test_no_reason_turns_a_denial_into_a_permission(reason):
    assert deny(reason).allow is False
    assert allow(reason).allow is True


def test_a_decision_does_not_change():
    with pytest.raises(FrozenInstanceError):
        deny(Reason.UNKNOWN_DEVICE).allow = True  # type: ignore[misc]


def test_the_rule_that_decided_is_told_with_its_source():
    assert str(RULE) == "deny publish secret/# (policy fleet)"


# Stored in the audit log and exported: a name in this list is never changed or removed.
STORED = {
    "credential_verified", "certificate_verified", "no_credential_required",
    "unknown_device", "device_disabled", "not_yet_valid", "no_longer_valid", "client_id_not_bound",
    "address_not_allowed", "throttled", "credential_missing", "no_live_credential", "credential_wrong",
    "superuser", "rule_allows", "rule_denies", "no_rule_matched", "invalid_topic", "policy_broken",
    "internal_error", "database_unavailable", "overloaded",
}  # fmt: skip


def test_reasons_keep_the_names_under_which_they_are_stored():
    assert {str(reason) for reason in Reason} >= STORED


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_a_word_that_the_audit_log_can_hold(reason):
    assert reason == reason.name.lower()
    assert len(reason) <= 40
