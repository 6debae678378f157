"""Chat templates as nobody has written them: put together at random from what real ones do.

A template is a text; `templates` is the hypothesis strategy that draws one. What it can draw: loops over messages, over their indices, over
slices and filtered lists, with ``loop`` and loop controls; namespaces, macros, calls, set-blocks, filter blocks, generation blocks,
recursive loops, autoescape; the filters, methods and operations on text that real templates use, with arguments; JSON in all its variants;
tools, documents, arguments of the row. Most of them print the conversation somehow, and some refuse it.
"""

from __future__ import annotations

from hypothesis import strategies as st

CONSTANTS = ["", " ", "\\n", "a", "<|x|>", "<b>", "%", "{}", "é", "'", "user", "\\n\\n", "-", "</think>", "&"]
NUMBERS = st.integers(-3, 6).map(str)

_constants = st.sampled_from(CONSTANTS).map(lambda text: '"' + text.replace('"', '\\"') + '"')

_FIELDS = [
    "m.content",
    "m['content']",
    "m.get('content', 'none')",
    "m.role",
    "(m.content or '')",
    "(m.reasoning_content or '')",
    "(m.reasoning_content | default('no thought', true))",
    "(m.name | default('nobody'))",
    "messages[0].content",
    "messages[-1]['content']",
    "(extra | default('none'))",
    "bos_token",
    "strftime_now('%Y')",
    "loop.index | string",
    "(loop.nextitem.content if loop.nextitem else '-')",
    "(loop.previtem.role if loop.previtem is defined else '-')",
    "m.tool_calls[0].function.name",
    "m.tool_calls[0].function.arguments.city",
    "tools[0].function.description",
    "documents[0].text",
    "ns.text",
    "held",
]
_ON_TEXT = [
    "({0} | trim)",
    "({0} | upper)",
    "({0} | lower)",
    "({0} | title)",
    "({0} | capitalize)",
    "({0} | string)",
    "({0} | safe)",
    "({0} | escape)",
    "({0} | e | forceescape)",
    "({0} | reverse)",
    "({0} | indent)",
    "({0} | indent({n}, true))",
    "({0} | indent({1}, false, true))",
    "({0} | replace({1}, {2}))",
    "({0} | replace({1}, {2}, 1))",
    "({0} | center(12))",
    "({0} | wordwrap(5))",
    "({0} | truncate(7, true, '..', 0))",
    "({0} | truncate(5, leeway=0))",
    "({0} | first | default('', true))",
    "({0} | last | default('', true))",
    "({0} | list | join({1}))",
    "({0} | tojson)",
    "({0} | tojson(ensure_ascii=true))",
    "({0} | urlencode)",
    "({0} | striptags)",
    "({0} | format({1}))",
    "('%s|%s' | format({0}, {1}))",
    "('<%s>' % {0})",
    "('%s %r %%' % ({0}, {1}))",
    "('%(a)s' % {{'a': {0}}})",
    "('%8s|%-8s' % ({0}, {1}))",
    "'{{}}:{{!r}}'.format({0}, {1})",
    "'{{a}} {{0:>8}}'.format({0}, a={1})",
    "'{{0.role}}{{1}}'.format(m, {0})",
    "({0} ~ {1})",
    "({0} + {1})",
    "({0} * 2)",
    "{0}.strip()",
    "{0}.strip({1})",
    "{0}.lstrip({1}).rstrip()",
    "{0}.split({1} or ' ')[0]",
    "{0}.split({1} or ' ')[-1]",
    "{0}.split()|join({1})",
    "{0}.rsplit({1} or ' ', 1)|join({2})",
    "{0}.split({1} or '-', 1)|last",
    "{0}.splitlines()|join({1})",
    "{0}.partition({1} or ' ')[2]",
    "{0}.rpartition({1} or ' ')[0]",
    "{0}.replace({1}, {2})",
    "{0}.replace({1}, {2}, 2)",
    "{0}.removeprefix({1}).removesuffix({2})",
    "{0}.title()",
    "{0}.swapcase()",
    "{0}.casefold()",
    "{0}.expandtabs(3)",
    "{0}.ljust(9, '.').rjust(11)",
    "{0}.zfill(7)",
    "{0}.join(['x', {1}])",
    "{1}.join([{0}, {2}])",
    "({0})[{n}:]",
    "({0})[:{n}]",
    "({0})[::-1]",
    "({0})[1:-1]",
    "({0} if {1} else {2})",
    "({0} if {1} in {0} else {2})",
    "({0} if {0}.startswith({1}) else {0} | length)",
    "({0} or {1})",
    "({0} and {1})",
    "show({0})",
    "quoted({0}, {1})",
]
_LISTS = [
    "({0} | list)",
    "[{0}, {1}]",
    "({0}, {1})",
    "{0}.split({1} or ' ')",
    "(messages | map(attribute='content') | list)",
    "(messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list)",
    "(messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | list)",
    "(messages[1:] | map(attribute='content'))",
    "([{0}, {1}] | map('upper') | list)",
    "([{0}, {1}] | sort)",
    "([{0}, {1}, {0}] | unique | list)",
    "([{0}, {1}, {2}] | batch(2) | map('join', '+') | list)",
    "([{0}, {1}, {2}] | slice(2) | map('join', '+') | list)",
    "([{0}, {1}] | reverse | list)",
    "([{0}] + [{1}])",
    "([{0}] * 2)",
    "[{0}, {1}, {2}][::-1]",
]
_VALUES = [
    "m",
    "messages",
    "messages[0]",
    "tools",
    "documents",
    "m.tool_calls",
    "m.tool_calls[0].function.arguments",
    "{{'k': {0}, 'l': [{1}, none, 1.5, true]}}",
    "dict(a={0}, b={1})",
    "[{0}, {{'x': {1}}}]",
    "m.items() | list",
    "(m | items | list)",
    "(m | dictsort)",
    "(messages | groupby('role'))",
    "(messages | groupby('role') | map(attribute='list') | list)",
    "(messages | map(attribute='content') | list)",
    "(extra | default(3))",
]
_AS_TEXT = [
    "{v}",
    "({v} | string)",
    "({v} ~ {0})",
    "({v} | tojson)",
    "({v} | tojson(indent=2))",
    "({v} | tojson(separators=(',', ':'), sort_keys=true))",
    "({v} | tojson(ensure_ascii=true, indent={n}))",
    "({v} | pprint)",
    "('%s' % [{v}])",
    "'{{}}'.format({v})",
    "({{'a': {0}, 'b': {1}}} | xmlattr)",
]
_OF_LISTS = [
    "({l} | join({0}))",
    "({l} | list | join)",
    "({l} | first | default('none'))",
    "({l} | list | last)",
    "{0}.join({l})",
    "({l} | list | tojson)",
    "({l} | list)",
    "({l} | list | length)",
    "({l} | list)[0]",
]


def _filled(patterns: list[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One of the patterns, its places filled with expressions."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> str:
        pattern = draw(st.sampled_from(patterns))
        places = [draw(texts) if f"{{{i}}}" in pattern else "" for i in range(3)]
        return pattern.format(
            *places,
            n=draw(NUMBERS) if "{n}" in pattern else "",
            l=draw(_filled(_LISTS, texts)) if "{l}" in pattern else "",
            v=draw(_filled(_VALUES, texts)) if "{v}" in pattern else "",
        )

    return draw_one()


_leaves = st.one_of(st.sampled_from(_FIELDS[:6]), st.sampled_from(_FIELDS), _constants)
_texts = st.recursive(
    _leaves, lambda inner: st.one_of(*[_filled(_ON_TEXT, inner)] * 3, _filled(_OF_LISTS, inner), _filled(_AS_TEXT, inner)), max_leaves=5
)
EXPRESSIONS = st.one_of(_texts, st.sampled_from(["m.content", "m.content", "m.role"]))
"""What is printed: an expression whose value is a text, or is printed as one."""

_CONDITIONS = [
    "m.role == 'user'",
    "m.role != 'system'",
    "loop.first",
    "not loop.last",
    "loop.index0 % 2 == 0",
    "m.tool_calls",
    "m.content is string",
    "m.reasoning_content is defined",
    "{0}",
    "'a' in {0}",
    "{0} == {1}",
    "{0} | length > 3",
    "tools",
    "ns.seen",
    "add_generation_prompt",
    "enable_thinking is defined and enable_thinking is false",
]
_PLAIN = ["\n", "text ", "<|x|>", "<|im_start|>", "<|im_end|>\n", "é&<b>", "  ", "{#- note -#}", "{% raw %}{{ m }}{% endraw %}"]
_INSIDE = [
    "{{{{ {0} }}}}",
    "{{{{- {0} -}}}}",
    "{{{{ '<|im_start|>' + m.role + '\\n' + {0} + '<|im_end|>\\n' }}}}",
    "{{% if {c} %}}{s}{{% else %}}{s}{{% endif %}}",
    "{{% if {c} %}}{s}{{% elif {c} %}}{s}{{% endif %}}",
    "{{%- set held = {0} -%}}{s}",
    "{{% set held %}}{s}{{% endset %}}{{{{ {0} }}}}",
    "{{% set held | upper %}}{s}{{% endset %}}{{{{ held }}}}",
    "{{% set ns.text = ns.text + ({0} | string) %}}",
    "{{% set ns.text = {0} %}}",
    "{{% set ns.seen = true %}}",
    "{{% set ns.list = ns.list + [{0}] %}}",
    "{{% for x in {l} %}}{{{{ x }}}}{{{{ ',' if not loop.last }}}}{{% endfor %}}",
    "{{% for x in {l} if x %}}{{{{ x }}}}{{% else %}}{s}{{% endfor %}}",
    "{{% for x in {0} %}}{{% if loop.index > 3 %}}{{% break %}}{{% endif %}}{{{{ x }}}}.{{% endfor %}}",
    "{{% for key, value in m.items() %}}{{{{ key }}}}={{{{ value }}}};{{% endfor %}}",
    "{{% for key, value in (m | dictsort) %}}{{{{ key ~ value }}}}{{% endfor %}}",
    "{{% for part in m.content if part is mapping %}}{{{{ part.text }}}}{{% else %}}{s}{{% endfor %}}",
    "{{% for c in m.tool_calls or [] %}}{{% for k, v in c.function.arguments | items %}}{{{{ k ~ v }}}}{{% endfor %}}{{% endfor %}}",
    "{{% for call in m.tool_calls or [] %}}{{{{ call | tojson(indent={n}) }}}}{{% endfor %}}",
    "{{% for other in messages %}}{{% if other.role == 'tool' %}}{{{{ other.content }}}}{{% endif %}}{{% endfor %}}",
    "{{% for group in messages | groupby('role') %}}{{% for y in group.list %}}{{{{ y.content }}}}{{% endfor %}}{{% endfor %}}",
    "{{% filter upper %}}{s}{{% endfilter %}}",
    "{{% filter replace({0}, {1}) %}}{s}{{% endfilter %}}",
    "{{% generation %}}{s}{{% endgeneration %}}",
    "{{% call wrapped({0}) %}}{s}{{% endcall %}}",
    "{{% with held = {0} %}}{s}{{% endwith %}}",
    "{{% autoescape true %}}{s}{{% endautoescape %}}",
    "{{% autoescape false %}}{s}{{% endautoescape %}}",
    "{{% if {c} %}}{{% continue %}}{{% endif %}}",
    "{{{{ tree(m) }}}}",
]
_MACROS = (
    "{% set ns = namespace(text='', list=[], seen=false) %}{% set held = 'H' %}"
    "{% macro show(x) %}[{{ x }}]{% endmacro %}"
    "{% macro quoted(x, mark='\"') -%} {{ mark ~ x ~ mark }} {%- endmacro %}"
    "{% macro wrapped(x) %}<{{ x }}>{{ caller() }}</{{ x | lower }}>{% endmacro %}"
    "{% macro tree(x) %}{% if x is mapping %}"
    "{% for k, v in x.items() %}{{ k }}:{{ tree(v) }};{% endfor %}{% elif x is string %}{{ x }}{% elif x is iterable %}"
    "{% for y in x %}{{ tree(y) }},{% endfor %}{% else %}{{ x }}{% endif %}{% endmacro %}"
)
_LOOPS = [
    "{{% for m in messages %}}{s}{{% endfor %}}",
    "{{%- for m in messages -%}}{s}{{%- endfor -%}}",
    "{{% for m in messages[1:] %}}{s}{{% endfor %}}",
    "{{% set rest = messages[1:] if messages[0].role == 'system' else messages %}}{{% for m in rest %}}{s}{{% endfor %}}",
    "{{% for m in messages if m.role != 'system' %}}{s}{{% endfor %}}",
    "{{% for m in messages[::-1] %}}{s}{{% endfor %}}",
    "{{% for i in range(messages | length) %}}{{% set m = messages[i] %}}{s}{{% endfor %}}",
    "{{% for m in messages | rejectattr('role', 'equalto', 'tool') %}}{s}{{% endfor %}}",
    "{{% macro one(m, loop) %}}{s}{{% endmacro %}}{{% for m in messages %}}{{{{ one(m, loop) }}}}{{% endfor %}}",
    "{{% for m in messages recursive %}}{s}{{% endfor %}}",
    "{{% for m in messages %}}{s}{{% endfor %}}{{{{ ns.text }}}}{{{{ ns.list | join('/') }}}}",
    "{{% set m = messages[0] %}}{{{{ m.content }}}}{{% for m in messages %}}{s}{{% endfor %}}",
]
_AFTER = [
    "",
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{% if add_generation_prompt %}<|x|>{% endif %}",
    "{{ tools | tojson if tools }}",
    "{{ eos_token }}",
]


@st.composite
def _statements(draw: st.DrawFn, depth: int) -> str:
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 3)) == 0:
            pieces.append(draw(st.sampled_from(_PLAIN)))
            continue
        pattern = draw(st.sampled_from(_INSIDE if depth else _INSIDE[:3]))
        bodies = [draw(_statements(depth - 1)) for _ in range(pattern.count("{s}"))]
        conditions = [draw(_filled(_CONDITIONS, _leaves)) for _ in range(pattern.count("{c}"))]
        for place, filling in (("{s}", bodies), ("{c}", conditions)):
            for text in filling:
                pattern = pattern.replace(place, text.replace("{", "{{").replace("}", "}}"), 1)
        pieces.append(draw(_filled([pattern], EXPRESSIONS)))
    return "".join(pieces)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """A chat template."""
    loop = draw(st.sampled_from(_LOOPS))
    body = draw(_statements(2))
    before = draw(st.sampled_from(["", "", "{{ bos_token }}", "{{ tools | tojson if tools }}", "{{ documents }}"]))
    return _MACROS + before + loop.format(s=body) + draw(st.sampled_from(_AFTER))
