"""A column of the data says how much each row counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

import maskkit
from maskkit.errors import DataError
from maskkit.strategy import Strategy, StrategyOptions, weights_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.records import Record
    from maskkit.tokens import Tokens


class RowWeight(Strategy):
    """The weights of another strategy times a column of the data: a quality, a reward, an advantage, an importance ratio.

    ``w_t = v_t * column`` with v the other strategy's weights, as in C-RLFT (OpenChat, arXiv:2309.11235), which weighs rows by where they
    come from (``values``). Ratios for importance-weighted fine-tuning (arXiv:2507.12856) are clipped by ``min`` and ``max``.
    """

    name = "row-weight"

    class Options(StrategyOptions):
        column: str = "weight"
        """Column of the row; a dot goes into an object: ``meta.quality``."""
        strategy: str | dict[str, Any] = "assistant-only"
        """The other strategy, as a config writes it."""
        values: dict[str, float] = Field(default_factory=dict)
        """Weight of each value of a column of names, such as {expert: 1.0, draft: 0.1}."""
        default: float | None = None
        """Weight of rows that have no such column; an error if not given."""
        min: float | None = None
        """Smaller weights are raised to this."""
        max: float | None = None
        """Larger weights are lowered to this."""
        signed: bool = False
        """Allow negative weights, such as advantages; needs loss.normalization absolute or tokens."""

        @model_validator(mode="after")
        def _checked(self) -> RowWeight.Options:
            if self.min is not None and self.max is not None and self.min > self.max:
                raise ValueError(f"min is {self.min} and max {self.max}, expected min to be the smaller")
            return self

    def setup(self) -> None:
        self.take(maskkit.load_strategy(self.options.strategy))
        self.signed = self.options.signed or self.signed

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        return self.factor(tokens.record) * weights_of(self.inner[0], tokens)

    def factor(self, record: Record) -> float:
        """The weight of a row. Raises DataError where the column is missing or holds no weight."""
        options: RowWeight.Options = self.options
        value = _column(record.row, options.column)
        if value is None and options.default is not None:
            weight = options.default
        elif options.values:
            weight = self._named(record, value)
        elif isinstance(value, Real) and math.isfinite(value):
            weight = float(value)
        else:
            raise DataError(f"{record.source}: {options.column} is {_shown(value)}, expected a number{_hint(record, options)}")
        if options.min is not None:
            weight = max(weight, options.min)
        if options.max is not None:
            weight = min(weight, options.max)
        if weight < 0 and not options.signed:
            raise DataError(f"{record.source}: {options.column} is {weight}; set signed: true on row-weight if negative weights are meant")
        return weight

    def _named(self, record: Record, value: Any) -> float:
        values: dict[str, float] = self.options.values
        if str(value) not in values:
            raise DataError(f"{record.source}: {self.options.column} is {_shown(value)}, expected one of {', '.join(map(repr, values))}")
        return values[str(value)]


def _column(row: Any, path: str) -> Any:
    """The value at a path; None where there is none."""
    if path in row:
        return row[path]
    for step in path.split("."):
        row = row.get(step) if isinstance(row, Mapping) else None
    return row


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)


def _hint(record: Record, options: RowWeight.Options) -> str:
    if _column(record.row, options.column) is None:
        return f", or give row-weight a default; the row has {', '.join(map(repr, record.row))}"
    return ", or give row-weight the weight of each name: values: {...}"
