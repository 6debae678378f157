"""All templates of the trl wheel times the conversations: transformers' text, a full cover, and no word with a wrong kind."""

from __future__ import annotations

from collections import Counter

import pytest

from maskkit.errors import TemplateError
from tests.chat.conversations import CONVERSATIONS, KIND_OF_WORD, MARKED
from tests.chat.looking import check_cover, codes, segment_at
from tests.chat.tokenizers import renderer_for, transformers_text
from tests.real import trl_templates

GENERATED = {"reasoning", "answer", "tool_call"}


def judge(template: str, name: str) -> str:
    """``exact``, ``unknown`` (said so) or ``refused`` (by transformers too); anything wrong fails."""
    row = CONVERSATIONS[name]
    renderer = renderer_for(template)
    try:
        expected = transformers_text(renderer.tokenizer, row.messages, tools=row.tools, **row.template_kwargs)
    except Exception:
        with pytest.raises(TemplateError, match="refuses"):
            renderer.render(row)
        return "refused"
    rendered = renderer.render(row)
    assert rendered.text == expected
    check_cover(rendered)
    for word in MARKED.finditer(rendered.text):
        segment = segment_at(rendered, word.start())
        wanted = KIND_OF_WORD[word[1]]
        assert segment.kind == "unknown" or (segment.kind == wanted and segment.generated == (wanted in GENERATED)), (word[0], segment)
    stops = [s for s in rendered.segments if s.kind == "stop"]
    assert all(s.generated for s in stops)
    return "unknown" if "unknown-text" in codes(rendered) else "exact"


def test_every_template_is_right_or_says_that_it_cannot_attribute() -> None:
    outcomes = Counter[str]()
    for title, template in trl_templates().items():
        for name in CONVERSATIONS:
            try:
                outcomes[judge(template, name)] += 1
            except AssertionError as error:
                raise AssertionError(f"template {title}, conversation {name!r}: {error}") from error
    assert sum(outcomes.values()) == len(trl_templates()) * len(CONVERSATIONS)
    assert outcomes["exact"] >= 860
    assert outcomes["unknown"] <= 15
    assert outcomes["refused"] <= 130
