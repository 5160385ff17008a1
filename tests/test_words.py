"""Every reason has words for people, and each has its own."""

from accounts.core.decision import Reason
from exhookadmin.words import REASONS, reason_words


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(Reason)


def test_no_two_reasons_are_told_alike() -> None:
    assert len({words.title for words in REASONS.values()}) == len(Reason)


def test_titles_fit_a_table_and_meanings_are_sentences() -> None:
    for words in REASONS.values():
        assert 0 < len(words.title) <= 25
        assert words.meaning[0].isupper()
        assert words.meaning.endswith(".")


def test_a_reason_of_a_newer_version_is_shown_as_it_is() -> None:
    assert reason_words("credential_wrong").title == "wrong credential"
    assert reason_words("moon_in_wrong_phase").title == "moon in wrong phase"
