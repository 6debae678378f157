"""The checks as a class of tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from maskkit.testing.checks import CHECKS, Subject, subject_of
from maskkit.testing.modifier_checks import MODIFIER_CHECKS, ModifierSubject, modifier_subject


class StrategyConformance:
    """Derive from it, name a strategy, and pytest runs one test per check of `maskkit.testing.checks`.

    class TestMine(StrategyConformance):
        strategy = Mine
    """

    strategy: ClassVar[Any]
    """A class, or anything that a config can select: ``{"name": "mine", "stop": 0.5}``."""

    columns: ClassVar[Mapping[str, Any]] = {}
    """Further columns that every row has, for a strategy that reads some."""

    scaffolding: ClassVar[bool] = False
    """It means to weigh the template's scaffolding."""

    whole_row: ClassVar[bool] = False
    """It looks at the whole row, so a cut row may weigh differently."""

    def subject(self) -> Subject:
        """What is checked."""
        return subject_of(type(self).strategy, columns=self.columns, scaffolding=self.scaffolding, whole_row=self.whole_row)


class ModifierConformance:
    """The same for a loss modifier, with the checks of `maskkit.testing.modifier_checks`.

    class TestMine(ModifierConformance):
        modifier = Mine
    """

    modifier: ClassVar[Any]
    """A class, or anything that a config can name: ``{"name": "mine", "power": 0.5}``."""

    columns: ClassVar[Mapping[str, Any]] = {}
    """Further columns that every row has, for a modifier that reads some in ``carry``. Those of ``token_columns`` are made up."""

    def subject(self) -> ModifierSubject:
        """What is checked."""
        return modifier_subject(type(self).modifier, columns=self.columns)


def _test_of(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        check(self.subject())

    test.__name__ = f"test_it_{check.__name__}"
    test.__doc__ = check.__doc__
    return test


for _check in CHECKS:
    setattr(StrategyConformance, f"test_it_{_check.__name__}", _test_of(_check))
for _modifier_check in MODIFIER_CHECKS:
    setattr(ModifierConformance, f"test_it_{_modifier_check.__name__}", _test_of(_modifier_check))
