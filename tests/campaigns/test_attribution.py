"""A sample of the attribution campaign: other cells in every release of the packages, the same ones in every run."""

from __future__ import annotations

import random
from collections import Counter

from tests.campaigns.attribution import UNSERVED
from tests.campaigns.cell import judge
from tests.campaigns.conversations import ALL
from tests.real import TEMPLATE_PACKAGES

SMALL = ("trl", "axolotl", "llama.cpp")
"""Packages that every run of the tests fetches; the campaign has one more."""


def test_a_sample_of_all_templates_and_conversations_is_right() -> None:
    templates = {f"{package}/{name}": text for package in SMALL for name, text in TEMPLATE_PACKAGES[package].templates().items()}
    cells = [(name, conversation) for name in templates for conversation in ALL]
    verdicts, characters, unknown, compared = Counter[str](), 0, 0, 0
    for name, conversation in random.Random(1).sample(cells, 240):
        try:
            outcome = judge(templates[name], ALL[conversation])
        except AssertionError as error:
            raise AssertionError(f"{name}, {conversation!r}: {error}") from error
        verdicts[outcome.verdict] += 1
        if conversation != UNSERVED:
            characters, unknown = characters + outcome.characters, unknown + outcome.unknown
            compared += outcome.compared
    assert verdicts["exact"] > 180
    # In the whole campaign it is under 0.001; a sample may hit the few cells that have some.
    assert unknown <= 0.005 * characters
    assert compared > 10_000
