"""Every class that a template names is in a style sheet: unfold’s has the classes that it uses itself."""

import re
from pathlib import Path

import pytest
import unfold

from tests.programs import ROOT

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
HOOKS = {"errornote"}
"""Has no style; Django’s own pages call it so too."""


def known_classes() -> set[str]:
    sheets = [
        *Path(unfold.__path__[0], "static").rglob("*.css"),
        *(ROOT / "exhookadmin" / "static").rglob("*.css"),
    ]
    found = set()
    for sheet in sheets:
        found |= {name.replace("\\", "") for name in re.findall(r"\.((?:[\w-]|\\.)+)", sheet.read_text())}
    return found


def named_classes(template: str) -> set[str]:
    """Without those that are put together from a variable."""
    found: set[str] = set()
    for value in re.findall(r'\bclass="((?:{%.*?%}|{{.*?}}|[^"])*)"', template):
        whole = re.sub(r"\S*{{.*?}}\S*", " ", re.sub(r"{%.*?%}", " ", value))
        found |= set(whole.split())
    return found


KNOWN = known_classes()


@pytest.mark.parametrize(
    "template", TEMPLATES, ids=lambda path: path.relative_to(ROOT / "templates").as_posix()
)
def test_a_template_names_classes_that_exist(template: Path) -> None:
    assert named_classes(template.read_text()) - KNOWN - HOOKS == set()
