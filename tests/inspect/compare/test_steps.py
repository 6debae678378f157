"""Equations in a reply are found and checked."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.inspect.compare.steps import equations, value_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First 7+5=12. Then 12+5=18.", [("7+5=12", True), ("12+5=18", False)]),
        ("まず5+7=12。次に12-3=9。", [("5+7=12", True), ("12-3=9", True)]),
        ("2 + 3 * 4 = 14", [("2 + 3 * 4 = 14", True)]),
        ("<<48/2=24>> clips", [("48/2=24", True)]),
        ("1,200 × 3 = 3,600 and 0.5*3=1.5", [("1,200 × 3 = 3,600", True), ("0.5*3=1.5", True)]),
        ("-3 - -5 = 2", [("-3 - -5 = 2", True)]),
        ("7 / 0 = 7", [("7 / 0 = 7", False)]),
        ("x = 12, so 12 = 12; see 3-4", []),
        ("13+4=171", [("13+4=171", False)]),
    ],
)
def test_equations(text: str, expected: list[tuple[str, bool]]):
    assert equations(text) == expected


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 99)), min_size=1, max_size=5), st.integers(0, 99))
def test_a_value_is_that_of_python(parts: list[tuple[str, int]], first: int):
    expression = str(first) + "".join(f" {operator} {number}" for operator, number in parts)
    assert value_of(expression) == Fraction(eval(expression))
    assert equations(f"{expression} = {eval(expression)}")[0][1]
