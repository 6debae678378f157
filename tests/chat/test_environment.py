"""The private hooks into Jinja are where they were, and the sandbox is still one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import compiler, environment, sandbox
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.runtime import LoopContext
from transformers.utils import chat_template_utils

from maskkit.chat.compiler import PRIVATE_HOOKS, TracingCodeGenerator
from maskkit.chat.containers import Message, trace
from maskkit.chat.environment import TracingEnvironment, render_traced
from maskkit.chat.traced import UNKNOWN, plain

REBUILT = "{% set n = namespace(l=[]) %}{% for m in messages %}{% set n.l = n.l + [{'r': m.role}] %}{% endfor %}"
"""A template that walks over dicts of its own making."""

MESSAGES = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]


def render(source: str) -> Any:
    theirs = chat_template_utils._compile_jinja_template("").environment
    template = TracingEnvironment({**theirs.globals}, theirs.filters).from_string(source)
    return render_traced(template, {"messages": [trace(m, ("messages", i), Message) for i, m in enumerate(MESSAGES)]})


def outcome(render: Callable[[], str]) -> Any:
    """The text, or the class of what was raised."""
    try:
        return render()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in PRIVATE_HOOKS.items() for name in names])
def test_jinja_still_has_the_hook(owner: str, name: str) -> None:
    modules = (compiler, sandbox, environment)
    assert hasattr(next(found for module in modules if (found := getattr(module, owner, None))), name)


def test_jinja_calls_the_hooks_as_we_expect() -> None:
    def signature(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)

    generator = compiler.CodeGenerator
    assert signature(generator._output_const_repr) == ["self", "group"]
    assert signature(generator._output_child_pre) == signature(generator._output_child_post) == ["self", "node", "frame", "finalize"]
    assert signature(generator.visit_Const) == signature(generator.visit_Concat) == ["self", "node", "frame"]
    assert signature(sandbox.ImmutableSandboxedEnvironment._generate) == ["self", "source", "name", "filename", "defer_init"]


def test_every_override_of_a_private_hook_is_listed() -> None:
    ours = {name for name in vars(TracingCodeGenerator) if not name.startswith("__")}
    assert ours == set(PRIVATE_HOOKS["CodeGenerator"])


def test_compiled_code_writes_no_untraced_constant() -> None:
    theirs = chat_template_utils._compile_jinja_template("").environment
    source = "a{{ 'b' ~ x }}{% for m in messages %}{{ ('c' + m.content)|upper }}{% endfor %}"
    source += "{{ ['d', ('e',), {'f': 'g'}, messages|length]|string }}"
    environment = TracingEnvironment({**theirs.globals}, theirs.filters)
    code = environment.compile(source, raw=True)
    assert "".join(sorted(environment.literals.values())) == "abcdefg"
    for constant in "abcdefg":
        assert f"'{constant}'" not in code
    assert UNKNOWN not in {run[1] for run in render(source)._runs}


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].__class__ }}",
        "{{ messages[0].content.__class__.__mro__ }}",
        "{{ messages[0].content.__init__.__globals__ }}",
        "{{ messages[0].content._runs }}",
        "{{ messages[0]._maskkit_path }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ 'abc'.join.__self__ }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages[0].content) }}",
        "{{ '{0.__class__}'.format_map({'0': messages}) }}",
        "{{ '{m._runs}'.format(m=messages[0].content) }}",
        "{{ (messages[0].content|attr('format')).__func__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'content': 'x'}) }}",
        "{{ messages[0].pop('content') }}",
        "{{ messages[0].content.format.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ strftime_now.__globals__ }}",
        "{{ raise_exception.__code__ }}",
        "{% set ns = namespace(__class__=1) %}{{ ns }}",
        "{% for m in messages %}{{ m.__class__.__base__ }}{% endfor %}",
        "{{ range(10000000) }}",
        "{% import 'os' as os %}",
    ],
)
def test_a_hostile_template_gets_no_further_than_in_transformers(source: str) -> None:
    def theirs() -> str:
        return chat_template_utils._compile_jinja_template(source).render(messages=[dict(m) for m in MESSAGES])

    assert outcome(lambda: plain(render(source))) == outcome(theirs)


@pytest.mark.parametrize("source", ["{{ messages[0].content._runs[0] }}", "{{ messages[0]._maskkit_path[0] }}", "{{ 'x'._cut(0, 1) }}"])
def test_what_tracing_adds_is_out_of_reach(source: str) -> None:
    with pytest.raises(SecurityError):
        render(source)


def test_names_that_strings_do_not_have_stay_undefined() -> None:
    expression = "{{ messages[0].content.runs }}{{ messages[0].path }}{{ messages[0].content.plain }}|{{ messages[0].copy().content }}"
    assert plain(render(expression)) == "|hello"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}<{{ m.role }}>{% endfor %}!", [0, 0, 0, 1, 1, 1, -1]),
        ("{% macro h(m) %}<{{ m.role }}{% endmacro %}{% for m in messages %}{{ h(m) }}{% endfor %}", [0, 0, 1, 1]),
        ("{% for m in messages %}{% for n in messages %}{% endfor %}<{% endfor %}", [0, 1]),
        ("{% for m in messages %}{% set x %}<{% endset %}{{ x }}{{ 'a' if loop.last }}{% endfor %}", [0, 1, 1]),
        ("{% for i in range(2) %}{% set m = messages[i] %}<{{ m.content }}{% endfor %}.", [0, 0, 1, 1, -1]),
        ("{% for m in messages %}{% if loop.first %}({% continue %}{% endif %}){% break %}{% endfor %}.", [0, 1, -1]),
        ("{% for m in messages[::-1] %}{{ loop.index }}{% endfor %}", [1, 0]),
        (
            REBUILT + "{% for x in n.l %}<{% endfor %}",
            [0, 1],
        ),
    ],
)
def test_template_text_knows_whose_iteration_wrote_it(source: str, expected: list[int]) -> None:
    runs = render(source)._runs
    assert [owner for *_, owner in runs] == expected


OURS = ("_maskkit_path", "_maskkit_watch", "_runs", "_walk", "_owner")
ATTRIBUTES = (
    *dir(dict), *dir(str), *dir(LoopContext), *OURS, "role", "content", "nothing", "x", "__x", "_x",
)  # fmt: skip


@pytest.mark.parametrize("attribute", sorted(set(ATTRIBUTES)))
def test_the_short_cuts_give_the_sandboxs_answer(attribute: str) -> None:
    """Of messages, texts, loops and namespaces every attribute is what the plain sandbox gives, or refuses."""
    body = "{{ (OF.A is defined) ~ (OF.A is callable) ~ (OF.A is string) }}{{ OF.A if OF.A is string }}".replace("A", attribute)
    refused = "{{ OF.A() if OF.A is callable else OF.A.B }}".replace("A", attribute)
    for source in (body, refused):
        for place in ("messages[0]", "messages[0].content", "loop", "ns", "messages", "{'x': 1}", "'text'"):
            template = "{% set ns = namespace(x='x') %}{% for m in messages %}" + source.replace("OF", place) + "{% endfor %}"

            def theirs(template: str = template) -> str:
                return chat_template_utils._compile_jinja_template(template).render(messages=[dict(m) for m in MESSAGES])

            ours = outcome(lambda template=template: plain(render(template)))
            expected = outcome(theirs)
            # What only tracing has is refused, where for transformers it does not exist.
            refused_too = ours is SecurityError and expected is UndefinedError and attribute.startswith("_")
            assert ours == expected or refused_too, (template, ours, expected)
