"""Are the steps of a reply right? Equations of numbers that stand in it can be checked by anyone."""

from __future__ import annotations

import re
from fractions import Fraction

NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
OPERATOR = r"[-+*/×÷·−]"
EQUATION = re.compile(rf"(?<![\d.,])({NUMBER}(?:\s*{OPERATOR}\s*{NUMBER})+)\s*=\s*({NUMBER})(?![\d]|[.,]\d)")
"""``12 + 9 = 21``: numbers and operators, an equals sign, a number. Of ``3+4=7=7`` the first equation counts."""

_PART = re.compile(rf"\s*({OPERATOR})?\s*({NUMBER})")


def equations(text: str) -> list[tuple[str, bool]]:
    """Every equation of numbers in a text, and whether it holds."""
    return [(match[0], value_of(match[1]) == _number(match[2])) for match in EQUATION.finditer(text)]


def value_of(expression: str) -> Fraction | None:
    """The value of numbers joined by operators, times and division first; None where something is divided by 0."""
    terms: list[Fraction] = []
    position = 0
    while position < len(expression):
        match = _PART.match(expression, position) if terms else re.compile(rf"\s*()({NUMBER})").match(expression)
        if match is None:
            return None
        position, operator, number = match.end(), match[1], _number(match[2])
        if operator in ("*", "×", "·"):
            terms[-1] *= number
        elif operator in ("/", "÷"):
            if not number:
                return None
            terms[-1] /= number
        else:
            terms.append(-number if operator in ("-", "−") else number)
    return sum(terms, Fraction())


def _number(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))
