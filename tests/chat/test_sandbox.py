"""Ways out of the sandbox that its filters, methods and formats might open: each is refused, or leads nowhere, as in transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jinja2.exceptions import SecurityError, UndefinedError
from transformers.utils import chat_template_utils

from maskkit.chat.containers import Message, trace
from maskkit.chat.environment import TracingEnvironment, render_traced
from maskkit.chat.traced import plain

MESSAGES = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]

HOSTILE = [
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ messages | map(attribute='content.__class__.__mro__') | list }}",
    "{{ messages | selectattr('__class__') | list | length }}",
    "{{ messages | groupby('__class__') | list }}",
    "{{ messages | sum(attribute='__len__') }}",
    "{{ messages | sort(attribute='__class__') | length }}",
    "{{ messages | map('attr', '__class__') | list }}",
    "{{ messages[0] | attr('__init__') }}",
    "{{ (messages | first)['__class__'] }}",
    "{{ messages[0].content['__class__'] }}",
    "{{ (messages[0].content | safe).striptags.__globals__ }}",
    "{{ (messages[0].content | safe).unescape.__func__ }}",
    "{{ (messages[0].content | e).__html__.__globals__ }}",
    "{{ ('{0.__class__}' | safe).format(messages[0]) }}",
    "{{ ('{0.__class__.__base__}' | e).format_map({'0': 1}) }}",
    "{{ '{0.content.__class__}'.format(messages[0]) }}",
    "{{ '{0[content].__init__}'.format(messages[0]) }}",
    "{{ '{:{}}'.format(1, messages[0].__class__) }}",
    "{{ '%s' % messages.__class__ }}",
    "{{ '%(a)s' | format(a=messages.__init__) }}",
    "{{ lipsum.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ dict.__base__ }}",
    "{{ dict.mro() }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{% macro f() %}{% endmacro %}{{ f.__init__ }}{{ f._func }}",
    "{% macro f() %}{{ caller._func.__globals__ }}{% endmacro %}{% call f() %}{% endcall %}",
    "{% for m in messages %}{{ loop.__init__ }}{{ loop._iterator }}{% endfor %}",
    "{% for m in messages %}{{ loop.__class__ }}{% endfor %}",
    "{% for key in messages[0].__dict__ %}{{ key }}{% endfor %}",
    "{% set ns = namespace() %}{% set ns.__class__ = dict %}{{ ns.x }}",
    "{% set ns = namespace(a=1) %}{{ ns._Namespace__attrs }}",
    "{{ messages.sort() }}",
    "{{ messages[0].setdefault('x', 1) }}",
    "{{ messages[0].clear() }}",
    "{{ messages.extend([1]) }}",
    "{{ messages[0].content.format.__self__ }}",
    "{{ messages[0].content.translate.__call__ }}",
    "{% include 'x' %}",
    "{% extends messages[0].content %}",
    "{{ environment.globals }}",
    "{{ context.environment }}",
]


def outcome(render: Callable[[], str]) -> Any:
    """The text, or the class of what was raised."""
    try:
        return render()
    except Exception as error:
        return type(error)


def ours(source: str) -> str:
    theirs = chat_template_utils._compile_jinja_template("").environment
    template = TracingEnvironment({**theirs.globals}, theirs.filters).from_string(source)
    return plain(render_traced(template, {"messages": [trace(m, ("messages", i), Message) for i, m in enumerate(MESSAGES)]}))


def theirs(source: str) -> str:
    return chat_template_utils._compile_jinja_template(source).render(messages=[dict(m) for m in MESSAGES])


@pytest.mark.parametrize("source", HOSTILE)
def test_no_way_leads_further_than_in_transformers(source: str) -> None:
    assert outcome(lambda: ours(source)) == outcome(lambda: theirs(source))


@pytest.mark.parametrize("name", ["_runs", "_maskkit_path", "_maskkit_watch", "_cut", "_owner"])
@pytest.mark.parametrize(
    "way",
    [
        "{{ messages | map(attribute='content.NAME') | map('length') | list }}",
        "{{ messages | map('attr', 'NAME') | map('length') | list }}",
        "{{ '{0.NAME[0]}'.format(messages[0].content) }}",
        "{{ ('{0.NAME[0]}' | safe).format(messages[0]) }}",
        "{{ (messages | attr('NAME'))[0] }}",
    ],
)
def test_what_tracing_keeps_cannot_be_read_by_filters_and_formats(way: str, name: str) -> None:
    source = way.replace("NAME", name)
    found, expected = outcome(lambda: ours(source)), outcome(lambda: theirs(source))
    # For transformers there is nothing of that name.
    assert found == expected or (found is SecurityError and expected is UndefinedError)
