"""``tool-calls``: calls and the stop behind them, never results; and selecting tokens by field and tool."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builtin.weighing import agent, weigh

TABLE = agent()


def test_calls_and_their_stop_count_and_nothing_else():
    assert weigh("tool-calls", TABLE) == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_its_options():
    spec = {"name": "tool-calls", "call": 3, "stop": 0.5, "reasoning": 0.25}
    assert weigh(spec, TABLE) == [0, 0, 0, 0.25, 3, 3, 3, 3, 3, 3, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]
    assert weigh({"name": "tool-calls", "last_turn": True}, TABLE) == [0] * 19


def test_calls_of_some_tools_only():
    assert weigh({"name": "tool-calls", "tools": ["add"]}, TABLE) == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert weigh({"name": "tool-calls", "tools": ["absent"]}, TABLE) == [0] * 19


def test_the_stop_counts_also_where_truncation_from_the_left_took_the_call():
    assert weigh("tool-calls", TABLE.cut(10, 19))[0] == 1


def test_tokens_know_their_tool():
    assert TABLE.tool.tolist() == [""] * 4 + ["clock"] * 3 + ["add"] * 3 + ["", "add", "clock"] + [""] * 6
    np.testing.assert_array_equal(TABLE.where(tool="clock", generated=False), np.arange(19) == 12)
    np.testing.assert_array_equal(TABLE.where(kind="tool_call", tool=["clock", "add"]), np.isin(np.arange(19), range(4, 10)))


def test_tokens_know_their_field():
    assert TABLE.field[5] == "tool_calls[0].function.name"
    assert TABLE.field[4] == ""
    np.testing.assert_array_equal(TABLE.where(field="tool_calls"), np.isin(np.arange(19), [5, 8]))
    np.testing.assert_array_equal(TABLE.where(field="tool_calls[1]"), np.arange(19) == 8)
    np.testing.assert_array_equal(TABLE.where(field=["name", "reasoning_content"]), np.isin(np.arange(19), [3, 5, 8]))
    assert not TABLE.where(field="call").any()
    np.testing.assert_array_equal(TABLE.cut(4, 9).field, TABLE.field[4:9])
    np.testing.assert_array_equal(TABLE.cut(4, 9).tool, TABLE.tool[4:9])
    with pytest.raises(ValueError, match="read-only"):
        TABLE.field[0] = "x"
