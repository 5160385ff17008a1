"""Text from outside: whether it can be kept at all, and how a message repeats it."""

SHOWN_CHARACTERS = 80


def text_problem(text: str) -> str | None:
    """Why no database can hold this text, in words for a form; None when every one can."""
    if "\0" in text:
        return "It holds the character NUL (U+0000): remove it."
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "It holds half of a surrogate pair, which is not a character: type it again."
    return None


def quoted(text: str) -> str:
    """The text in quotation marks: cut where it would flood the message, and always valid UTF-8.

    Half of a surrogate pair (JSON can spell one) is shown as “?”: no page could be sent with it.
    """
    shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    return f"“{shown.encode(errors='replace').decode()}”"
