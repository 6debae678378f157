"""Wrong masks, planted one by one in ids and labels of real families, are found; clean data of many templates has no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit.checks import Linter
from maskkit.errors import MaskkitError
from maskkit.inspect.lint.given import given_rows
from maskkit.inspect.lint.recover import Recoverer
from tests.inspect.lint.rows import Masked, assistant, row, user
from tests.real import TEMPLATE_PACKAGES, TOKENIZERS, real_tokenizer, trl_template

CHATS = (
    (
        {"role": "system", "content": "Be brief."},
        user("What is 2 + 3? 🙂"),
        assistant("It is 5 🦜, that is all.", reasoning_content="2+3=5"),
    ),
    (user("Hi"), assistant("Hello there, 日本."), user("And now?"), assistant("Bye 🦜, my friend.")),
)
Plant = Callable[[Masked], tuple[Any, Any]]


def _first(made: Masked) -> int:
    """The first token that the model writes."""
    return int(made.tokens.generated.argmax())


def _parrot(made: Masked) -> np.ndarray:
    return np.flatnonzero(made.tokens.generated & np.array([made.tokens.piece(i).strip() == "🦜" for i in range(len(made.ids))]))


def _moved(made: Masked, by: int) -> tuple[Any, Any]:
    mask = np.roll(made.labels != -100, by)
    mask[0 if by > 0 else -1] = False
    return made.ids, np.where(mask, made.ids, -100)


PLANTED: dict[str, tuple[str, Plant]] = {
    "labels of the next token": ("labels-shifted", lambda made: (made.ids, np.append(made.labels[1:], -100))),
    "labels of the token before": ("labels-shifted", lambda made: (made.ids, np.append(-100, made.labels[:-1]))),
    "mask one too early": ("labels-shifted", lambda made: _moved(made, -1)),
    "mask one too late": ("labels-shifted", lambda made: _moved(made, 1)),
    "prompt trained": ("prompt-trained", lambda made: made.train(made.tokens.kind == "user")),
    "everything trained": ("prompt-trained", lambda made: made.train(slice(None))),
    "no stop token": ("stop-not-trained", lambda made: made.forget(made.tokens.where(kind="stop"))),
    "end of the header trained": ("header-trained", lambda made: made.train(_first(made) - 1)),
    "truncated answer": ("stop-truncated", lambda made: made.cut(int(np.flatnonzero(made.tokens.where(kind="stop"))[-1]) - 2)),
    "half an emoji trained": ("split-character", lambda made: made.forget(_parrot(made)[-1])),
    "cut within an emoji": ("split-character", lambda made: made.cut(int(_parrot(made)[0]) + 1)),
    "second stop token": ("stop-trained-twice", lambda made: made.followed([made.tokenizer.eos_token_id], trained=True)),
}


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("chat", CHATS, ids=("one-turn", "two-turns"))
def test_planted_faults_are_found_and_nothing_is_wrong_without(family: str, chat: tuple[dict[str, Any], ...]):
    made = Masked(*chat, tokenizer=real_tokenizer(family))
    assert not maskkit.lint([made.pair], made.tokenizer).errors
    recover = Recoverer(made.tokenizer)
    for what, (name, plant) in PLANTED.items():
        ids, labels = plant(made)
        assert name in _names(recover, (ids, labels), made.tokenizer), f"{family}, {what}"
        if "labels of" not in what:
            assert name in _names(recover, (ids, (labels != -100).astype(np.float32)), made.tokenizer), f"{family}, {what}, as weights"


def _names(recover: Recoverer, pair: tuple[Any, Any], tokenizer: Any) -> tuple[str, ...]:
    """What `maskkit.lint` finds, without learning the template anew."""
    linter = Linter(tokenizer)
    for given in given_rows(pair, "row 0", recover.pad_id):
        linter.add(recover(given))
    return linter.report().names


@pytest.mark.parametrize("family", TOKENIZERS)
def test_ids_of_another_template_are_found(family: str):
    tokenizer = real_tokenizer(family)
    for other in set(TOKENIZERS) - {family}:
        theirs = copy(tokenizer)
        theirs.chat_template = real_tokenizer(other).chat_template
        made = Masked(*CHATS[1], tokenizer=theirs)
        assert "wrong-template" in maskkit.lint([made.pair], tokenizer).names, f"{other} as {family}"
        beside = {"input_ids": made.ids, "labels": made.labels, **made.row}
        assert "wrong-template" in maskkit.lint([beside], tokenizer).names, f"{other} as {family}, with messages"


def test_prefilled_text_that_is_trained_is_found():
    """Qwen3's prompt supplies an empty thinking block where thinking is off, and the model writes it where it is on."""
    tokenizer = real_tokenizer("qwen3")
    off = {"enable_thinking": False}
    right, wrong = Masked(*CHATS[1], tokenizer=tokenizer, template_kwargs=off), Masked(*CHATS[1], tokenizer=tokenizer)
    assert not maskkit.lint([right.pair], tokenizer, template_kwargs=off).errors
    (finding,) = maskkit.lint([wrong.pair], tokenizer, template_kwargs=off).errors
    assert finding.code.name == "prefill-trained"
    (finding,) = maskkit.lint([wrong.pair], tokenizer).findings
    assert (finding.code.name, finding.severity) == ("prefill-trained", "warning")


@pytest.mark.parametrize(("template", "prefilled"), [("qwen3_5_think", "<think>\n"), ("nemotron_3_nano", "<think>\n")])
def test_an_opened_thinking_block_of_the_prompt_is_found(template: str, prefilled: str):
    tokenizer = copy(real_tokenizer("qwen3"))
    tokenizer.chat_template = trl_template(template)
    made = Masked(user("Hi"), assistant("Hello.", reasoning_content="A greeting."), tokenizer=tokenizer)
    assert not maskkit.lint([made.pair], tokenizer).errors
    at = made.tokens.text.rindex(prefilled)
    inside = (made.tokens.char_start >= at) & (made.tokens.char_end <= at + len(prefilled))
    assert "prefill-trained" in maskkit.lint([made.train(inside)], tokenizer).names


TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": {"type": "object", "properties": {}}}}
]
CALL = {"id": "abcdefghj", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
CLEAN = (
    row(*CHATS[0]),
    row(*CHATS[1]),
    row(
        user("Weather?"),
        assistant("", tool_calls=[CALL]),
        {"role": "tool", "name": "weather", "tool_call_id": "abcdefghj", "content": "4 degrees"},
        assistant("4 degrees."),
        tools=TOOLS,
    ),
)
SAMPLED = 30
"""So many templates, evenly spread over all packages."""


def _templates() -> Iterator[tuple[str, str]]:
    found = [(f"{package}/{name}", text) for package, made in TEMPLATE_PACKAGES.items() for name, text in made.templates().items()]
    yield from (found[number * len(found) // SAMPLED] for number in range(SAMPLED))


def test_clean_data_of_many_templates_has_no_error():
    """A tokenizer whose vocabulary has few of their control tokens: most markers are ordinary text, cut like any other."""
    tokenizer, looked_at, recovered = copy(real_tokenizer("qwen3")), 0, 0
    for name, template in _templates():
        tokenizer.chat_template = template
        masker = maskkit.Masker(tokenizer)
        examples = []
        for chat in CLEAN:
            try:
                made = masker(chat)
            except MaskkitError:  # the template refuses it
                continue
            if not any(warning.code == "reply-not-printed" for warning in made.warnings):  # the template prints no calls: not clean
                examples.append(made)
        pairs = [(example.input_ids, example.labels) for example in examples if example.loss_weights.any()]
        if not pairs:
            continue
        report = maskkit.lint(pairs, tokenizer)
        assert not report.errors, f"{name}: {[(f.code.name, f.places[0]) for f in report.errors]}"
        assert not maskkit.lint(examples, tokenizer).errors, name
        looked_at += 1
        recovered += "structure-not-recovered" not in report.names
    assert looked_at >= 25
    assert recovered >= 0.8 * looked_at
