"""Columns of the data with one number per token, such as reference scores, that strategies and loss modifiers read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskkit.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens


def column_of(tokens: Tokens, name: str) -> npt.NDArray[Any]:
    """A column of the row with one number per token. Raises DataError, naming the row, where there is none."""
    if name not in tokens.extras:
        raise DataError(
            f"{tokens.record.source}: the row has no column {name!r}, expected {len(tokens)} numbers, one per token; the row has "
            f"{', '.join(map(repr, tokens.record.row))}"
        )
    return tokens.extras[name]
