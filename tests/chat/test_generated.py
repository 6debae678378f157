"""What the model emits, pinned: rendered conversations with the generated part in brackets.

The files in ``generated/`` hold, for one template each, conversations of `CONVERSATIONS` under a line ``=== name``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chat.conversations import CONVERSATIONS
from tests.chat.looking import marked
from tests.chat.tokenizers import renderer_for
from tests.real import trl_template

FOLDER = Path(__file__).parent / "generated"


def fixtures() -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for section in path.read_text(encoding="utf-8").split("=== ")[1:]:
            name, _, text = section.partition("\n")
            found.append((path.stem, name, text.removesuffix("\n")))
    return found


@pytest.mark.parametrize(("template", "name", "expected"), [pytest.param(*f, id=f"{f[0]}-{f[1]}") for f in fixtures()])
def test_what_the_model_emits(template: str, name: str, expected: str) -> None:
    rendered = renderer_for(trl_template(template)).render(CONVERSATIONS[name])
    assert marked(rendered) == expected
