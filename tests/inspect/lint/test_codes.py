"""Each code has a smallest row that has it and a like one that has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from maskkit import Masker, embedded
from maskkit.findings import REGISTRY
from maskkit.records import Record, to_record
from tests.inspect.lint.rows import CHATML, PREFILLED, Masked, assistant, linted, row, tiny, user
from tests.masker.tokenizers import tokenizer_of

Case = Callable[[], Any]

THINKS = assistant("21", reasoning_content="12 + 9 = 21")
IMAGE = user([{"type": "image"}, {"type": "text", "text": "What is it?"}])
MEDIA = "{% for m in messages %}{% for p in m.content %}{{ p.text if p.type == 'text' else '<image>' }}{% endfor %}{% endfor %}"
SPEAKS = [assistant([{"type": "text", "text": "A cat."}])]
REFUSING = CHATML + "{% if add_generation_prompt and messages|length > 2 %}{{ raise_exception('too long') }}{% endif %}"
MERGING = (
    "{% for m in messages %}{{ m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
GOING_ON = CHATML.replace("{{ m.content }}{{ '<|im_end|>\n' }}", "{{ m.content }}<|im_end|>{{ m.reasoning_content }}\n").replace(
    "if m.rea", "if false and m.rea"
)
CUT_AT_TAG = CHATML.replace("m.content }}", "m.content.split('</think>')[-1] }}")
FORGETFUL = CHATML.replace("m.reasoning_content %}", "m.reasoning_content and loop.last %}")
THOUGHTLESS = CHATML.replace("if m.reasoning_content", "if false")
CALLS = assistant("", tool_calls=[{"type": "function", "function": {"name": "add", "arguments": {"a": 12, "b": 9}}}])
UNTRACED = "{% for m in messages %}<|im_start|>{{ namespace(x=m.content) }}<|im_end|>{% endfor %}"
TWO_TURNS = row(user(), THINKS, user("And 1 + 1?"), assistant("2"))


def _names(*arguments: Any, **options: Any) -> tuple[str, ...]:
    return linted(*arguments, **options).names


def _other_template() -> tuple[Any, Any]:
    return Masked(tokenizer=tiny("{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"), strategy="causal").pair


def _text() -> tuple[Any, Any]:
    ids = tiny()("Nobody says this to anybody.")["input_ids"]
    return ids, ids


CASES: dict[str, tuple[Case, Case]] = {
    "trains-nothing": (lambda: _names(Masked().forget(slice(None))), lambda: _names(Masked().pair)),
    "prompt-trained": (lambda: _names(Masked().train(Masked().place("12"))), lambda: _names(Masked().pair)),
    "header-trained": (lambda: _names(Masked().train(Masked().place("assistant\n"))), lambda: _names(Masked().pair)),
    "prefill-trained": (lambda: _names(_prefilled().train(_prefilled().place("<think>")), tiny(PREFILLED)),
                        lambda: _names(_prefilled().pair, tiny(PREFILLED))),
    "stop-not-trained": (lambda: _names(Masked().forget(Masked().place("<|im_end|>"))), lambda: _names(Masked().pair)),
    "stop-trained-twice": (lambda: _names(Masked().followed([tiny().eos_token_id], trained=True)),
                           lambda: _names(Masked().followed([tiny().eos_token_id], trained=False))),
    "split-character": (lambda: _names(_parrot().forget(_parrot().place("🦜"))), lambda: _names(_parrot().pair)),
    "reply-partly-trained": (lambda: _names(Masked().forget(Masked().place("21"))), lambda: _names(Masked().pair)),
    "labels-shifted": (lambda: _names((Masked().ids, [*Masked().labels[1:], -100])), lambda: _names(Masked().pair)),
    "labels-differ": (lambda: _names((Masked().ids, Masked().labels + 1 * (Masked().labels != -100))), lambda: _names(Masked().pair)),
    "separator-trained": (lambda: _names(Masked().train(-1)), lambda: _names(Masked().pair)),
    "history-rewritten": (lambda: _names(TWO_TURNS, tiny(FORGETFUL)),
                          lambda: _names(TWO_TURNS)),
    "reply-differs": (lambda: _names(row(), tiny(PREFILLED)), lambda: _names(row(user(), THINKS), tiny(PREFILLED))),
    "prompt-refused": (lambda: _names(TWO_TURNS, tiny(REFUSING)), lambda: _names(row(), tiny(REFUSING))),
    "no-reply": (lambda: _names(row(user()), history="as-served"), lambda: _names(row(), history="as-served")),
    "no-stop": (lambda: _names(row(), tiny(CHATML.replace("<|im_end|>", ""))), lambda: _names(row())),
    "dropped-text": (lambda: _names(row(user(), THINKS), tiny(THOUGHTLESS)),
                     lambda: _names(row(user(), THINKS))),
    "reasoning-dropped": (lambda: _names(row(user(), THINKS), tiny(THOUGHTLESS)),
                          lambda: _names(row(user(), THINKS))),
    "reasoning-unbalanced": (lambda: _names(row(user(), assistant("<think>hm"))),
                             lambda: _names(row(user(), assistant("<think>hm</think>21")))),
    "content-changed": (lambda: _names(row(user(), assistant("a</think>b")), tiny(CUT_AT_TAG)),
                        lambda: _names(row(user(), assistant("a b")), tiny(CUT_AT_TAG))),
    "role-not-printed": (lambda: _names(row({"role": "narrator", "content": "Dusk."}, user(), assistant()), tiny(_known_roles())),
                         lambda: _names(row(), tiny(_known_roles()))),
    "wrong-template": (lambda: _names(_other_template()), lambda: _names(Masked().pair)),
    "structure-not-recovered": (lambda: _names(_text()), lambda: _names(Masked().pair)),
    "after-stop": (lambda: _names(row(user(), THINKS), tiny(GOING_ON)), lambda: _names(row(), tiny(GOING_ON))),
    "reply-not-printed": (lambda: _names(row(user(), CALLS)),
                          lambda: _names(row(user(), CALLS), embedded.tiny_tokenizer())),
    "control-tokens": (lambda: _names(row(user("Say <|im_end|>."), assistant())), lambda: _names(row())),
    "unknown-text": (lambda: _names(row(), tiny(UNTRACED)), lambda: _names(row())),
    "straddle": (lambda: _names(row(user(), assistant(" then it sleeps")), tokenizer_of("byte_level", MERGING)),
                 lambda: _names(row(user(), assistant(" then it sleeps")), tokenizer_of("byte_level"))),
    "doubled-bos": (lambda: _names(_begun(2), tokenizer_of("byte_level")), lambda: _names(_begun(1), tokenizer_of("byte_level"))),
    "unknown-token": (lambda: _names(row(user("猫"), assistant("yes")), tokenizer_of("wordpiece")),
                      lambda: _names(row(user("fox"), assistant("yes")), tokenizer_of("wordpiece"))),
    "text-differs": (lambda: _names(row(user(), assistant("ﬁne")), tokenizer_of("byte_level_nfkc")),
                     lambda: _names(row(user(), assistant("fine")), tokenizer_of("byte_level_nfkc"))),
    "media-placeholder": (lambda: _names(row(IMAGE, *SPEAKS), tiny(MEDIA)),
                          lambda: _names(row(user([{"type": "text", "text": "What is it?"}]), *SPEAKS), tiny(MEDIA))),
    "truncated": (lambda: _names(row(), max_length=20), lambda: _names(row(), max_length=200)),
    "dropped": (lambda: _names([row(), row(user("Hi"), assistant("Yes"))], max_length=15, truncation="drop"),
                lambda: _names(row(), max_length=200, truncation="drop")),
    "stop-truncated": (lambda: _names(Masked().cut(Masked().place("<|im_end|>"))), lambda: _names(Masked().pair)),
    "weight-truncated": (lambda: _names(row(), max_length=4), lambda: _names(row(), max_length=200)),
    "over-length": (lambda: _names(Masked().pair, max_length=20), lambda: _names(Masked().pair, max_length=200)),
    "duplicate-rows": (lambda: _names([row(), row()]), lambda: _names([row(), row(user("Hi"), assistant("Yes"))])),
    "held-out-overlap": (lambda: _names(row(), held_out=[row()]), lambda: _names(row(), held_out=[row(user("Hi"), assistant("Yes"))])),
    "empty-turn": (lambda: _names(row(user(" "), assistant())), lambda: _names(row())),
    "row-refused": (lambda: _names(row(user(), assistant()), tiny(CHATML + "{{ raise_exception('no') }}")), lambda: _names(row())),
    "data-weights-ignored": (lambda: _names(row(user(), assistant(weight=0.5))),
                             lambda: _names(row(user(), assistant(weight=0.5)), strategy="from-data")),
    "unknown-mark": (lambda: _names(row(user(), assistant(my_weight=0.5))), lambda: _names(row(user(), assistant(author="me")))),
    "non-finite-weight": (lambda: _names(_weighed(float("nan"))), lambda: _names(_weighed(0.5))),
    "negative-weight": (lambda: _names(_weighed(-1.0)), lambda: _names(_weighed(0.5))),
    "huge-weight": (lambda: _names(_weighed(1e6)), lambda: _names(_weighed(2.0))),
    "negligible-kind": (lambda: _names(row(user(), THINKS), strategy={"name": "weighted", "reasoning": 1e-4, "answer": 1.0}),
                        lambda: _names(row(user(), THINKS), strategy={"name": "weighted", "reasoning": 0.5, "answer": 1.0})),
    "stored-weights-replaced": (lambda: _names(_prepared(), strategy={"name": "weighted", "answer": 0.5}),
                                lambda: _names(_prepared(), strategy="assistant-only")),
}  # fmt: skip


def _prefilled() -> Masked:
    return Masked(user(), THINKS, tokenizer=tiny(PREFILLED))


def _prepared() -> Record:
    """As maskkit prepare writes a row under assistant-only."""
    example = Masker(tiny())(row())
    columns = {"kinds": example.tokens.kind_codes, "generated": example.tokens.generated, "straddle": example.tokens.straddle}
    columns |= {"message_index": example.tokens.message, "roles": np.array(["user", "assistant"])}
    return to_record({"input_ids": example.input_ids, "loss_weights": example.loss_weights, **columns})


def _parrot() -> Masked:
    return Masked(user(), assistant("A 🦜."))


def _weighed(weight: float) -> tuple[Any, Any]:
    made = Masked()
    return made.weigh(made.place("21"), weight)


def _known_roles() -> str:
    return CHATML.replace("in messages %}", "in messages if m.role in ['user', 'assistant'] %}")


def _begun(times: int) -> tuple[Any, Any]:
    tokenizer = tokenizer_of("byte_level")
    made = Masked(tokenizer=tokenizer)
    more = times - 1
    return [*[tokenizer.bos_token_id] * more, *made.ids], [*[-100] * more, *made.labels]


def test_every_code_has_a_case():
    assert set(CASES) == set(REGISTRY)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_row_has_the_code(name: str):
    assert name in CASES[name][0]()


@pytest.mark.parametrize("name", CASES)
def test_a_good_row_has_not(name: str):
    assert name not in CASES[name][1]()
