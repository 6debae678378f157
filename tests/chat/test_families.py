"""The families labelled by hand: kind and origin of every character and every token."""

from __future__ import annotations

from copy import copy, deepcopy
from functools import cache
from typing import Any

import pytest
from tokenizers import AddedToken

from maskkit.masker import Masker
from tests.chat.families_on_file import Fixture, conversations, fixtures, labels_of, marked_text
from tests.chat.looking import codes
from tests.chat.tokenizers import DATE, tokenizer_for
from tests.real import TEMPLATE_PACKAGES, real_tokenizer

FIXTURES = fixtures()
each = pytest.mark.parametrize("fixture", FIXTURES, ids=lambda f: f"{f.path.parent.name}-{f.path.stem}")


def template_of(fixture: Fixture) -> str:
    package, _, name = fixture.head["template"].partition("/")
    return TEMPLATE_PACKAGES[package].templates()[name]


def tokenizer_of(fixture: Fixture) -> Any:
    """The fixture's tokenizer with the fixture's template."""
    if "tokenizer" not in fixture.head:
        return tokenizer_for(template_of(fixture))
    tokenizer = copy(real_tokenizer(fixture.head["tokenizer"]))
    tokenizer.chat_template = template_of(fixture)
    return tokenizer


@cache
def masker_of(fixture: Fixture) -> Masker:
    tokenizer = tokenizer_of(fixture)
    stop_ids = tokenizer.convert_tokens_to_ids(fixture.head.get("stop", []))
    assert None not in stop_ids
    return Masker(tokenizer, date=DATE, stop_token_ids=stop_ids)


@each
def test_every_character_is_labelled_as_by_hand(fixture: Fixture) -> None:
    rendered = masker_of(fixture).renderer.render(fixture.row)
    found = marked_text(rendered)
    if fixture.only_end:
        before, found = found[: -len(fixture.marked)], found[-len(fixture.marked) :]
        assert "⟦" not in before
    assert found == fixture.marked
    assert codes(rendered) == fixture.head.get("findings", [])


@each
def test_every_token_is_labelled_as_its_characters(fixture: Fixture) -> None:
    text, labels = labels_of(fixture.marked)
    row = fixture.row
    tokens, _ = masker_of(fixture).tokens(
        {"messages": list(row.messages), "tools": row.tools, "chat_template_kwargs": dict(row.template_kwargs)}
    )
    shift = len(tokens.text) - len(text)
    assert tokens.text[shift:] == text
    assert fixture.only_end or shift == 0
    for index in range(len(tokens)):
        if tokens.char_start[index] < shift:
            assert not tokens.generated[index]
            continue
        touched = labels[tokens.char_start[index] - shift : tokens.char_end[index] - shift]
        wanted = next((label for label in touched if label[1]), touched[0])
        assert (tokens.kind[index], bool(tokens.generated[index])) == wanted, (index, tokens.piece(index))
        assert bool(tokens.straddle[index]) == (len({generated for _, generated in touched}) == 2)


@pytest.mark.parametrize("special", [True, False])
def test_a_turn_does_not_end_with_a_tag_inside_a_call(special: bool) -> None:
    """GLM's tokenizers know the tags around arguments as tokens, which stand behind the last data of a call."""
    tags = ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
    glm = [fixture for fixture in FIXTURES if fixture.path.parent.name == "glm" and "<arg_value>" in fixture.marked]
    assert len(glm) >= 4
    for fixture in glm:
        tokenizer = deepcopy(tokenizer_of(fixture))
        tokenizer.add_tokens([AddedToken(tag, special=special, normalized=False) for tag in tags])
        assert tokenizer.convert_tokens_to_ids("</arg_value>") in tokenizer.added_tokens_decoder
        conversation = fixture.marked[fixture.marked.index("<|assistant|>") :]
        assert marked_text(Masker(tokenizer, date=DATE).renderer.render(fixture.row)).endswith(conversation), fixture.path


def test_the_marks_can_be_read_back() -> None:
    for fixture in FIXTURES:
        text, labels = labels_of(fixture.marked)
        assert len(text) == len(labels)
        assert not set("⟦⟧⟨⟩") & set(text)


def test_every_family_has_a_plain_and_a_multi_turn_conversation() -> None:
    of_family: dict[str, set[str]] = {}
    for fixture in FIXTURES:
        of_family.setdefault(fixture.path.parent.name, set()).add(fixture.head["conversation"])
    assert len(of_family) >= 12
    assert {name for names in of_family.values() for name in names} == set(conversations())
    for names in of_family.values():
        assert {"plain", "multi-turn"} <= names


def test_the_labels_do_not_depend_on_a_generation_config() -> None:
    """Templates show what ends a turn: the same is found where nobody names the model's stop tokens."""
    for fixture in (fixture for fixture in FIXTURES if "stop" in fixture.head):
        rendered = Masker(tokenizer_of(fixture), date=DATE).renderer.render(fixture.row)
        assert marked_text(rendered).endswith(fixture.marked), fixture.path
