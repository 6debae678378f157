"""Rules of ``weighted``: every condition there is."""

from __future__ import annotations

import pytest

import maskkit
from tests.builtin.weighing import agent, weigh
from tests.tables import make_tokens

TABLE = agent()
SUPPLIED = make_tokens([("user", False, 0), ("answer", False, 1), ("answer", True, 1)], ("user", "assistant"))


def matched(tokens: maskkit.Tokens = TABLE, **where: object) -> list[int]:
    """The tokens that a rule is for."""
    rules = [{"where": {"kind": list(maskkit.SegmentKind), "generated": "any"}, "weight": 0}, {"where": where, "weight": 7}]
    return [t for t, weight in enumerate(weigh({"name": "weighted", "rules": rules}, tokens)) if weight == 7]


def test_by_field_and_tool():
    assert matched(field="content", role="assistant") == [14, 17]
    assert matched(field=["name", "reasoning_content"]) == [3, 5, 8]
    assert matched(tool="clock") == [4, 5, 6, 12]
    assert matched(tool="clock", kind="tool_call") == [4, 5, 6]


def test_by_turn_and_message_first_and_last():
    assert matched(turn="first", kind="stop") == [10, 15]
    assert matched(turn="last") == [16, 17, 18]
    assert matched(turn=["first", "last"], kind="stop") == [10, 15, 18]
    assert matched(message="last") == matched(message=-1) == [17, 18]
    assert matched(message="first") == [0, 1]


def test_by_who_wrote_it():
    assert matched(SUPPLIED, kind="answer") == [2]
    assert matched(SUPPLIED, kind="answer", generated=False) == [1]
    assert matched(SUPPLIED, kind="answer", generated="any") == [1, 2]
    assert matched(SUPPLIED, generated=True) == [2]


def test_named_groups_select_what_they_capture():
    tokens = make_tokens(
        [("user", False, 0, "so "), ("answer", True, 1, "sum: "), ("answer", True, 1, "12"), ("answer", True, 1, " or 13")],
        ("user", "assistant"),
    )
    assert matched(tokens, regex=r"sum: \d+") == [1, 2]
    assert matched(tokens, regex=r"sum: (?P<number>\d+)") == [2]
    assert matched(tokens, regex=r"so sum: (?P<number>\d+)", kind="answer") == [2], "only what is captured must meet the other conditions"
    assert matched(tokens, regex=r"(?P<a>so )|(?P<b>12)") == [0, 2], "a group that took no part selects nothing"


def test_look_behind_sees_the_text_before():
    tokens = make_tokens([("user", False, 0, "a"), ("answer", True, 1, "a"), ("answer", True, 1, "b")], ("user", "assistant"))
    assert matched(tokens, regex="(?<=a)a", kind="answer") == [1]
    assert matched(tokens, regex="(?<=b)a") == []


@pytest.mark.parametrize(
    ("where", "says"),
    [({"turn": "frist"}, "rules[0].where.turn"), ({"fields": "content"}, "Did you mean 'field'?"), ({"generated": "all"}, "generated")],
)
def test_a_wrong_condition_is_named(where: dict[str, object], says: str):
    with pytest.raises(maskkit.ConfigError) as error:
        weigh({"name": "weighted", "rules": [{"where": where, "weight": 1}]}, TABLE)
    assert says in str(error.value)
