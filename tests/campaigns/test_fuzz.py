"""A few of the templates of the fuzzing campaign, the same ones in every run."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.campaigns.fuzz import pairs


@pytest.mark.parametrize("number", [11, 12])
def test_templates_and_conversations_put_together_at_random_are_attributed_right(number: int) -> None:
    sums = Counter[str]()
    pairs(60, number, sums)
    assert sums["pairs"] - sums["refused"] > 40
    assert sums["data"] > 1000
