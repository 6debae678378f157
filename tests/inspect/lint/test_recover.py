"""Who says what is read back from ids alone, under every sort of tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from maskkit.inspect.lint.detokenize import Detokenizer
from maskkit.inspect.lint.given import given_rows
from maskkit.inspect.lint.recover import Recoverer
from maskkit.inspect.lint.structure import learn, renderer_of
from tests.inspect.lint.rows import Masked, assistant, linted, tiny, user
from tests.masker.tokenizers import SORTS, tokenizer_of

LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
TALK = (user("Is it true?"), assistant("Yes, it is: 12 + 30 = 42."), user("Et où?"), assistant("ありがとう 🦜"))


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort != "wordpiece"])
def test_what_the_model_writes_is_found_under_every_sort_of_tokenizer(sort: str):
    made = Masked(*TALK, tokenizer=tokenizer_of(sort))
    recover = Recoverer(made.tokenizer)
    (given,) = given_rows(made.pair, "row 0", None)
    row = recover(given)
    assert row.attributed
    assert np.array_equal(row.tokens.generated, made.tokens.generated)
    assert np.array_equal(row.tokens.message, made.tokens.message)
    assert not linted([made.pair], made.tokenizer).errors


def test_a_tokenizer_that_loses_blanks_is_no_cause_for_guesses():
    made = Masked(*TALK, tokenizer=tokenizer_of("wordpiece"))
    assert "structure-not-recovered" in linted([made.pair], made.tokenizer).names


def test_a_template_that_marks_roles_by_their_place_alone():
    made = Masked(*TALK, tokenizer=tokenizer_of("byte_level", LLAMA_2))
    assert not linted([made.pair], made.tokenizer).findings
    assert "stop-not-trained" in linted([made.forget(made.tokens.where(kind="stop"))], made.tokenizer).names


def test_a_row_that_was_cut_on_the_left_is_read_from_its_next_message_on():
    made = Masked(*TALK)
    at = made.place("42")
    report = linted([(made.ids[at:], made.labels[at:])])
    assert "prompt-trained" not in report.names
    assert report.kinds["unknown"].tokens > 0
    assert report.kinds["answer"].trained > 0


def test_what_stands_behind_the_end_belongs_to_nobody():
    made = Masked(*TALK)
    ids, labels = made.followed([tiny().eos_token_id] * 2, trained=False)
    (given,) = given_rows((ids, labels), "row 0", None)
    row = Recoverer(tiny())(given)
    assert row.appended is not None
    assert np.flatnonzero(row.appended).tolist() == [len(ids) - 2, len(ids) - 1]
    assert not linted([(ids, labels)]).findings


def test_a_trained_end_of_sequence_behind_the_end_is_a_second_stop_and_nothing_else():
    made = Masked(*TALK)
    report = linted([made.followed([tiny().eos_token_id], trained=True)])
    assert report.names == ("stop-trained-twice",)


def test_role_names_that_templates_print_from_the_data_are_part_of_headers():
    read = Detokenizer(tiny())
    structure = learn(renderer_of(tiny(), None, ()), read)
    assert {boundary.before for boundary in structure.boundaries} >= {"start", "system", "user", "assistant", "tool"}
    assert all(piece.text for boundary in structure.boundaries for piece in boundary.pieces)
    assert any(boundary.literal.endswith("assistant\n") for boundary in structure.of("user"))


def test_control_tokens_inside_a_message_leave_the_structure_open():
    """Where another trainer let a row write ``<|im_start|>``, nobody can say whose text follows."""
    made = Masked(user("Say <|im_start|>."), assistant("No."), control_tokens="allow")
    assert "structure-not-recovered" in linted([made.pair]).names
