"""What a prompt's rendering must have in common with the conversation's before iterations of a loop are left out."""

from __future__ import annotations

import pytest

from tests.chat.test_replay import check_beginnings, turns

PRINT = "<{{ m.content }}>"
START = "{% set ns = namespace(n=0) %}"

OTHER_BEGINNINGS = {
    "the loop begins at another message": "{% for m in (messages[1:] if messages|length > 4 else messages) %}" + PRINT + "{% endfor %}",
    "the numbers begin elsewhere": (
        "{% for i in range(1 if messages|length > 4 else 0, messages|length) %}<{{ messages[i].content }}>{% endfor %}"
    ),
}
OTHER_NAMESPACES = {
    "a namespace in place of a number": (
        "{% if messages|length > 4 %}{% set ns = namespace(x=1) %}{% else %}{% set ns = 0 %}{% endif %}"
        "{% for m in messages %}" + PRINT + "{{ ns.x }}{% endfor %}"
    ),
}
STATES_OF_ONE_RENDERING = {
    "the messages": (
        START + "{% for m in messages %}{% if loop.first %}{% set ns.n = messages %}{% endif %}{{ m.content }}"
        "{% if loop.index == 3 %}[{{ ns.n|length }}]{% endif %};{% endfor %}{{ ns.n|length }}"
    ),
    "the loop": START
    + "{% for m in messages %}{% if loop.first %}{% set ns.n = loop %}{% endif %}{{ m.content }}{% endfor %}{{ ns.n.length }}",
    "a namespace": (
        START + "{% for m in messages %}{% if loop.first %}{% set ns.n = namespace(v=0) %}{% endif %}"
        "{% set inner = ns.n %}{% set inner.v = loop.index %}{{ m.content }}{% endfor %}{{ ns.n.v }}"
    ),
}


@pytest.mark.parametrize("template", OTHER_BEGINNINGS.values(), ids=OTHER_BEGINNINGS)
def test_a_loop_that_begins_elsewhere_is_another(template: str) -> None:
    check_beginnings(template, turns(4))


@pytest.mark.parametrize("template", OTHER_NAMESPACES.values(), ids=OTHER_NAMESPACES)
def test_loops_that_see_other_namespaces_are_others(template: str) -> None:
    check_beginnings(template, turns(4))


@pytest.mark.parametrize("template", STATES_OF_ONE_RENDERING.values(), ids=STATES_OF_ONE_RENDERING)
def test_what_knows_its_rendering_is_not_handed_to_another(template: str) -> None:
    check_beginnings(template, turns(4))
