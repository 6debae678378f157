"""A template that does too much is stopped, before transformers is asked to run it, and says so."""

from __future__ import annotations

import time

import pytest

from maskkit.chat import ChatRenderer, limits
from maskkit.errors import TemplateError
from tests.chat.conversations import Row, assistant, user
from tests.chat.tokenizers import tokenizer_for

ROW = Row((user("Hello"), assistant("Hi %s {}")))
MANY = "{% for i in range(100000) %}"
DOUBLING = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = NEXT %}{% endfor %}"


def render(template: str) -> None:
    ChatRenderer(tokenizer_for(template)).render(ROW)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 1000000000 }}",
        "{{ messages[0].content * 1000000000 }}",
        "{{ (messages|list) * 1000000000 }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ messages[0].content.ljust(1000000000) }}{{ 'x'.rjust(1000000000) }}",
        "{{ 'x'.zfill(1000000000) }}",
        "{{ 'x\\ty'.expandtabs(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%1000000000s'|format('a') }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '{x:{w}}'.format_map({'x': 1, 'w': 1000000000}) }}",
        "{{ 'x\ny'|indent(1000000000) }}",
        "{{ [1]|tojson(indent=1000000000) }}",
        "{{ [1]|batch(1000000000, 0)|list }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{{ 1.5|round(1000000000) }}",
        "{{ lipsum(n=1000000000) }}",
        "{{ 10 ** 1000000000 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ ('x' * 90000).replace('x', 'y' * 90000) }}",
        "{{ ('y' * 90000).join(range(90000)|map('string')) }}",
        "{{ ('x' * 90000).translate({120: 'y' * 90000}) }}",
        DOUBLING.replace("START", "'x'").replace("NEXT", "ns.x + ns.x"),
        DOUBLING.replace("START", "'x'").replace("NEXT", "ns.x ~ ns.x"),
        DOUBLING.replace("START", "[1]").replace("NEXT", "ns.x + ns.x"),
        DOUBLING.replace("START", "3").replace("NEXT", "ns.x * ns.x"),
        MANY + "{{ 'x' * 100000 }}{% endfor %}",
        "{% set x %}" + MANY + "{{ 'x' * 100000 }}{% endfor %}{% endset %}",
        MANY + "{{ messages[0].content * 100000 }}{% endfor %}",
        "{% set ns = namespace(l=[]) %}" + MANY + "{% set ns.l = ns.l + ['x' * 100000] %}{% endfor %}",
    ],
)
def test_a_giant_is_refused_before_it_is_made(template: str) -> None:
    began = time.monotonic()
    with pytest.raises(TemplateError, match="row 1: the chat template was stopped: it"):
        render(template)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "template",
    [
        MANY * 3 + "{% endfor %}" * 3,
        MANY * 3 + "{% set x = i %}" + "{% endfor %}" * 3,
        MANY * 2 + "{{ '' }}" + "{% endfor %}" * 2,
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(100) }}",
        "{% macro f() %}{% endmacro %}{% for i in range(100000) if f() or range(100000)|map('string')|join %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_stopped(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskkit.chat.environment.SECONDS", 0.2)
    with pytest.raises(TemplateError, match="the chat template was stopped: it ran for more than"):
        render(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
        "{{ " + "-" * 5000 + "1 }}",
        "{% if true %}" * 500 + "{% endif %}" * 500,
    ],
    ids=["recursion", "parentheses", "signs", "blocks"],
)
def test_depth_is_a_refusal(template: str) -> None:
    with pytest.raises(TemplateError, match="row 1: the chat template refuses"):
        render(template)


def test_the_time_of_one_rendering_is_not_that_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskkit.chat.environment.SECONDS", 0.2)
    forever = MANY * 3 + "{% endfor %}" * 3
    template = "{% for m in messages %}{{ m.content }}{% if m.content == 'Loop' %}" + forever + "{% endif %}{% endfor %}"
    renderer = ChatRenderer(tokenizer_for(template))
    with pytest.raises(TemplateError, match="stopped"):
        renderer.render(Row((user("Loop"), assistant("x"))))
    assert renderer.render(ROW).text == "HelloHi %s {}"
    assert limits._budget.ends == float("inf")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ 'x' * 3 }}{{ [1] * 2 }}{{ 2 ** 10 }}", "xxx[1, 1]1024"),
        ("{{ 'order 12345678901: %s' % 1 }}", "order 12345678901: 1"),
        ("{{ 'order 12345678901: {}'.format(1234567890) }}", "order 12345678901: 1234567890"),
        ("{{ '%5d' % 12345678901 }}", "12345678901"),
    ],
)
def test_what_templates_do_is_far_from_the_limits(template: str, text: str) -> None:
    assert ChatRenderer(tokenizer_for(template)).render(ROW).text == text
