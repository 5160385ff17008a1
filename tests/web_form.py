"""What a browser would send for a form, read from its HTML."""

from html.parser import HTMLParser
from typing import Any

Data = dict[str, str | list[str]]


class _Form(HTMLParser):
    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.data: Data = {}
        self._form_id = form_id
        self._inside = False
        self._select: str | None = None
        self._text: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        name = own.get("name") or ""
        if tag == "form":
            self._inside = own.get("id") == self._form_id
        elif not self._inside or "disabled" in own or "__prefix__" in name:
            return
        elif tag == "input" and name:
            self._input(name, own)
        elif tag == "select" and name:
            self._select = name
        elif tag == "option" and self._select and "selected" in own:
            self._add(self._select, own.get("value") or "")
        elif tag == "textarea" and name:
            self._text = name
            self.data[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._text = None

    def handle_data(self, data: str) -> None:
        if self._text:
            self._add(self._text, str(self.data.pop(self._text)) + data)

    def _input(self, name: str, own: dict[str, str | None]) -> None:
        kind = own.get("type") or "text"
        if kind in ("checkbox", "radio"):
            if "checked" in own:
                self._add(name, own.get("value") or "on")
        elif kind not in ("submit", "button"):
            self._add(name, own.get("value") or "")

    def _add(self, name: str, value: str) -> None:
        known = self.data.get(name)
        if known is None:
            self.data[name] = value
        else:
            self.data[name] = [*(known if isinstance(known, list) else [known]), value]


def form_data(response: Any, form_id: str) -> Data:
    """The fields of the form with this id, as they stand. Fails where there is no such form."""
    form = _Form(form_id)
    form.feed(response.content.decode())
    assert "csrfmiddlewaretoken" in form.data, f"no form {form_id} in the page"
    return form.data
