"""The checks as a class of tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from maskkit.testing.checks import CHECKS, Subject, subject_of


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


def _test_of(check: Callable[[Subject], None]) -> Callable[[StrategyConformance], None]:
    def test(self: StrategyConformance) -> None:
        check(self.subject())

    test.__name__ = f"test_it_{check.__name__}"
    test.__doc__ = check.__doc__
    return test


for _check in CHECKS:
    setattr(StrategyConformance, f"test_it_{_check.__name__}", _test_of(_check))
