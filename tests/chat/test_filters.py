"""Whatever a template does to data, the text is transformers' own and each data character keeps its origin."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from maskkit.chat.containers import trace
from maskkit.chat.environment import TracingEnvironment, render_traced
from maskkit.chat.traced import DERIVED, ESCAPED, EXACT, Traced, plain
from tests.chat.tokenizers import tokenizer_for

DATA = {
    "s": "alpha beta",
    "q": 'say "hi" & <bye>',
    "l": "one\n two\n\nthree",
    "u": "straße 🐕",
    "d": {"city": "Pa'ris", "n": 3, "x": 1.5, "deep": {"list": ["p", None, True, "q\"'"]}},
    "ls": ["gamma", "delta"],
    "ms": [{"role": "r1", "v": "epsilon"}, {"role": "r2", "v": "zeta"}],
    "n": 42,
}
WORDS = re.compile(r"[a-zA-Z]{4,}")

EXACTLY = [
    "{{ s }}",
    "{{ s ~ '|' ~ q }}",
    "{{ s + q }}",
    "{{ '[' + s + ']' }}",
    "{{ s * 2 }}",
    "{{ s[2:7] }}",
    "{{ s[::-1] }}",
    "{{ s|trim }}",
    "{{ s|upper }}",
    "{{ s|lower }}",
    "{{ s|title }}",
    "{{ s|capitalize }}",
    "{{ s|reverse }}",
    "{{ s|replace('a', 'AA') }}",
    "{{ s.replace('alpha', q) }}",
    "{{ s.split(' ')|join('/') }}",
    "{{ s.split(' ')[-1] }}",
    "{{ s|first ~ s|last }}",
    "{{ s|list|join }}",
    "{{ q|e }}",
    "{{ q|escape }}",
    "{{ q|safe }}",
    "{{ q|safe ~ s }}",
    "{{ '<b>'|safe + q }}",
    "{{ (q|safe) + s }}",
    "{{ q|forceescape }}",
    "{{ l|indent }}",
    "{{ l|indent(2, true) }}",
    "{{ l|indent('>>', false, true) }}",
    "{{ l|indent(first=true) }}",
    "{{ l.splitlines()|join('_') }}",
    "{{ s|center(30) }}",
    "{{ s.center(31, '*') }}",
    "{{ s.ljust(20) ~ s.rjust(20) ~ s.zfill(20) }}",
    "{{ '%s and %s'|format(s, q) }}",
    "{{ '%s and %r' % (s, q) }}",
    "{{ '%(a)s' % {'a': s} }}",
    "{{ '{} {!r} {x}'.format(s, q, x=l) }}",
    "{{ '{0[city]} {1.role}'.format(d, ms[0]) }}",
    "{{ '{a}'.format_map({'a': s}) }}",
    "{{ d }}",
    "{{ d|string }}",
    "{{ d ~ '' }}",
    "{{ ls }}",
    "{{ ls|string|upper }}",
    "{{ (s, q) }}",
    "{{ [s, {'k': q}] }}",
    "{{ {'k': s} }}",
    "{{ d|tojson }}",
    "{{ d|tojson(indent=2) }}",
    "{{ d|tojson(ensure_ascii=true, sort_keys=true) }}",
    "{{ d|tojson(separators=(',', ':')) }}",
    "{{ q|tojson }}",
    "{{ u|tojson(ensure_ascii=true) }}",
    "{{ ls|tojson }}",
    "{{ {'a': s, 3: q, none: u}|tojson }}",
    "{{ {}|tojson }}{{ []|tojson }}",
    "{{ d.items()|list }}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v|tojson }};{% endfor %}",
    "{{ d.deep.list[3] }}",
    "{{ d['deep']['list'][0] }}",
    "{{ ms|map(attribute='v')|join(', ') }}",
    "{{ ms|join(', ', attribute='v') }}",
    "{{ ms|selectattr('role', 'equalto', 'r2')|map(attribute='v')|first }}",
    "{{ ms|rejectattr('role', 'eq', 'r2')|list }}",
    "{{ ls|sort|join }}",
    "{{ ls|unique|list }}",
    "{{ (ls + [s])|join('+') }}",
    "{{ ls|batch(1)|list }}",
    "{{ ls|map('upper')|list }}",
    "{{ ms|groupby('role')|list }}",
    "{{ ls[::-1] }}",
    "{{ ls|last }}",
    "{{ dict(a=s, b=q).b }}",
    "{% set x %}<{{ s }}>{% endset %}{{ x }}{{ x|length }}",
    "{% set x = namespace(t='') %}{% for i in ls %}{% set x.t = x.t + i %}{% endfor %}{{ x.t }}",
    "{% macro m(a, b='dflt') %}{{ a }}-{{ b }}{{ caller() if caller }}{% endmacro %}{{ m(s) }}{% call m(q, l) %}in {{ u }}{% endcall %}",
    "{% filter upper %}x {{ s }}{% endfilter %}",
    "{% generation %}{{ s }}{% endgeneration %}",
    "{{ s if 'alpha' in s else q }}",
    "{{ missing|default(s) }}",
    "{{ s or q }}",
    "{{ s and q }}",
    "{{ n }} {{ n + 1 }} {{ n ~ s }} {{ d.n }} {{ d.x }} {{ d.n|string }}",
    "{{ s.partition(' ')[2] ~ s.rpartition(' ')[0] }}",
    "{{ s.removeprefix('al').removesuffix('ta') }}",
    "{{ u|upper }}",
    "{{ u.casefold() }}",
    "{{ s.swapcase() ~ s.expandtabs() }}",
    "{{ ', '.join(ls) }}",
    "{{ s.strip('a').lstrip('l').rstrip('t') }}",
    "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for i in ls %}{{ loop.index }}{{ i }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for i in ls if i != 'gamma' %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in ls %}{% if loop.first %}{% continue %}{% endif %}{{ i }}{% break %}{% endfor %}",
    "{{ s is string }}{{ d is mapping }}{{ ls is iterable }}{{ n is number }}{{ n is integer }}{{ d.x is float }}{{ none }}{{ true }}",
    "{% with y = s %}{{ y }}{% endwith %}",
    "{% if s == 'alpha beta' %}{{ s }}{% endif %}",
    "{{ '%5s|%-20s|%d|%.1f' % (ls[0], s, n, d.x) }}",
    "{% for a in [1, 2] recursive %}{{ a }}{{ s }}{% endfor %}",
    "{{ loop_ is defined }}{{ s|attr('upper')() }}",
    "{{ s|string|string }}",
    "{{ s|truncate(7, leeway=0) }}",
    "{{ q|truncate(8, true, '..', 0) }}",
    "{{ (q|safe).replace('i', '<') }}{{ (q|safe|replace('i', '<')) + '<' }}{{ (l|safe|indent) + '<' }}{{ (q|safe|title) + '<' }}",
    "{% autoescape true %}{{ s }}{{ q }}{{ q|safe }}{{ q ~ s }}{{ q + '<' }}{{ q|e }}{{ q|replace('i', '<') }}{% endautoescape %}{{ q }}",
    "{% autoescape true %}{{ q|replace('i'|safe, '<') }}{{ [q, s|safe]|join('&') }}{{ [q, s]|join('&') }}{% endautoescape %}",
    "{% autoescape true %}{% set x %}<{{ q }}>{% endset %}{{ x }}{{ d|tojson }}{{ l|indent }}{{ q|title }}{{ q|upper }}{% endautoescape %}",
    "{% autoescape true %}{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(q) }}{{ m(q)|upper }}{% endautoescape %}",
    "{% autoescape true %}{{ q }}{% autoescape false %}{{ q }}{% endautoescape %}{% endautoescape %}",
    "{% for k, v in d.items() %}{{ k }}{{ v|string|replace('a', 'b', 1) }}{{ (v|string).rsplit(' ', 1)|join('_') }}{% endfor %}",
    "{{ ls|batch(1, '-')|map('join')|join('|') }}{{ ls|slice(2)|map('join')|join('|') }}",
    "{% for g in ms|groupby('role') %}{{ g.grouper }}{{ g.list|map(attribute='v')|join }}{% endfor %}",
    "{% for k, v in d|dictsort(reverse=true) %}{{ k ~ '=' ~ v }}{% endfor %}",
    "{{ '{0:}|{1!s}|{2[0]}'.format(s, q, ls) }}{{ '%s %(k)s' if false else '%s%%' % s }}",
    "{{ [missing, missing|pprint, q|safe] }}{{ '%r' % (q|e) }}",
    "{{ [missing, s] }}{{ '%5s' % missing }}{{ '{:>9}'.format(missing or s) }}",
]
"""Nothing unknown in the output, and whole words of data come from data."""

AS_A_WHOLE = [
    "{{ s|wordwrap(5) }}",
    "{{ s|urlencode }}",
    "{{ q|striptags }}",
    "{{ s|pprint }}",
    "{{ d|pprint }}",
    "{{ ms|pprint }}",
    "{{ s|safe|pprint }}",
    "{{ (q|safe).striptags() }}",
    "{{ '%20s' % s }}",
    "{{ '{:>20}'.format(s) }}",
]
"""One run of the value's origin: which characters is not known, whose is."""

UNKNOWABLE = [
    "{{ (s + 'constant' + q)|wordwrap(5) }}",
    "{{ namespace(a=s) }}",
    "{{ d.items() }}",
    "{{ {'a': s}|xmlattr }}",
    "{% autoescape true %}{{ {'a': q}|xmlattr }}{% endautoescape %}",
]
"""Reported as unknown."""


def environments() -> tuple[Any, TracingEnvironment]:
    theirs = chat_template_utils._compile_jinja_template("").environment
    return theirs, TracingEnvironment({**theirs.globals}, theirs.filters)


def render_both(expression: str) -> tuple[str, Traced]:
    theirs, ours = environments()
    expected = theirs.from_string(expression).render(**DATA)
    traced = render_traced(ours.from_string(expression), {name: trace(value, ("data", name)) for name, value in DATA.items()})
    return expected, traced


def origins(traced: Traced) -> list[tuple[str, Any]]:
    """Every character with the first step of its origin."""
    characters = iter(plain(traced))
    return [(next(characters), origin) for length, origin, *_ in traced._runs for _ in range(length)]


@pytest.mark.parametrize("expression", EXACTLY)
def test_data_keeps_its_origin(expression: str) -> None:
    expected, traced = render_both(expression)
    assert plain(traced) == expected
    assert all(origin[0] != "unknown" for _, origin in origins(traced))
    at = 0
    for length, origin, offset, mapping, _ in traced._runs:
        if origin[0] == "data" and mapping in (EXACT, ESCAPED):
            source: Any = DATA
            for step in origin[1:]:
                source = source[step]
            first = source[offset]
            assert mapping == ESCAPED or plain(traced)[at].casefold() == first.casefold() or first == "ß"
        at += length
    for word in WORDS.finditer(str(DATA)):
        for found in re.finditer(rf"(?i)\b{word[0]}\b", plain(traced)):
            assert {origin[0] for _, origin in origins(traced)[found.start() : found.end()]} == {"data"}, word[0]


@pytest.mark.parametrize("expression", AS_A_WHOLE)
def test_text_made_of_a_whole_value_has_its_origin(expression: str) -> None:
    expected, traced = render_both(expression)
    assert plain(traced) == expected
    assert {(origin[0], mapping) for _, origin, _, mapping, _ in traced._runs} == {("data", DERIVED)}


@pytest.mark.parametrize("expression", UNKNOWABLE)
def test_what_cannot_be_followed_is_unknown(expression: str) -> None:
    expected, traced = render_both(expression)
    assert plain(traced) == expected
    assert {origin[0] for _, origin in origins(traced)} == {"unknown"}


def test_the_text_is_right_even_where_autoescape_is_switched_on() -> None:
    expected, traced = render_both("{% autoescape true %}{{ q }}<b>{{ q|safe }}{% endautoescape %}{{ q }}")
    assert plain(traced) == expected


def test_strftime_prints_the_renderers_date() -> None:
    from maskkit.chat import ChatRenderer
    from tests.chat.conversations import Row, user

    template = "{{ strftime_now('%d %b %Y') }}|{% for m in messages %}{{ m.content }}{% endfor %}"
    rendered = ChatRenderer(tokenizer_for(template), date=datetime(2001, 2, 3)).render(Row((user("x"),)))
    assert rendered.text == "03 Feb 2001|x"


def test_quotes_around_a_string_as_json_belong_to_it() -> None:
    _, traced = render_both("{{ q|tojson }}")
    assert {origin for _, origin, *_ in traced._runs} == {("data", "q")}
