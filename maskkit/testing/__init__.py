"""For those who write strategies: the checks that every strategy and loss modifier has to pass, and rows, tokens, templates to try one on.

    from maskkit.testing import StrategyConformance

    class TestMine(StrategyConformance):
        strategy = Mine                      # a class, or anything that a config can select

A loss modifier has `ModifierConformance`. `check_strategy` runs the checks of either outside pytest. The fixtures ``tiny_tokenizer``,
``tiny_model``, ``conversations`` and ``templates`` are there as soon as maskkit is installed. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskkit.testing.cases import ModifierConformance as ModifierConformance
    from maskkit.testing.cases import StrategyConformance as StrategyConformance
    from maskkit.testing.checks import CHECKS as CHECKS
    from maskkit.testing.checks import check_strategy as check_strategy
    from maskkit.testing.modifier_checks import MODIFIER_CHECKS as MODIFIER_CHECKS
    from maskkit.testing.rows import CONVERSATIONS as CONVERSATIONS
    from maskkit.testing.rows import TEMPLATES as TEMPLATES
    from maskkit.testing.tables import token_tables as token_tables

_HOMES = {
    "CHECKS": "maskkit.testing.checks",
    "CONVERSATIONS": "maskkit.testing.rows",
    "MODIFIER_CHECKS": "maskkit.testing.modifier_checks",
    "ModifierConformance": "maskkit.testing.cases",
    "StrategyConformance": "maskkit.testing.cases",
    "TEMPLATES": "maskkit.testing.rows",
    "check_strategy": "maskkit.testing.checks",
    "token_tables": "maskkit.testing.tables",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'maskkit.testing' has no attribute {name!r}")
