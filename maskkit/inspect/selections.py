"""Selections of strategies as people read them: in one line, and as JSON."""

from __future__ import annotations

from typing import Any

from maskkit.strategy import as_strategy


def in_one_line(selection: Any) -> str:
    """A selection as YAML writes it in one line; a function by its name."""
    if isinstance(selection, dict):
        return "{" + ", ".join(f"{key}: {in_one_line(value)}" for key, value in selection.items()) + "}"
    if isinstance(selection, (list, tuple)):
        return f"[{', '.join(map(in_one_line, selection))}]"
    return as_strategy(selection).label if callable(selection) else str(selection)


def named(selection: Any) -> Any:
    """A selection in which functions, which no config can hold, are their names."""
    if isinstance(selection, dict):
        return {key: named(value) for key, value in selection.items()}
    if isinstance(selection, (list, tuple)):
        return [named(value) for value in selection]
    return as_strategy(selection).label if callable(selection) else selection
