"""Lint: what is wrong with data and masks, our own and those of any other trainer.

`run` (the library function), `given` (rows with a mask of any trainer), `recover` (who says what in them: `detokenize`, `structure` learnt
from the template, `parsing`), `files`, `catalogue` (all codes in words), `show` and `formats` (for terminals and for machines). The checks
themselves stand in `maskkit.checks`, since training runs them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskkit.inspect.lint.run import lint

__all__ = ["lint"]


def __getattr__(name: str) -> Any:
    if name == "lint":
        from maskkit.inspect.lint.run import lint

        return lint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
