"""Imports point one way, and the public page is complete."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import maskkit

ORDER = [
    "cli",
    "integrations",
    "inspect",
    "prepare",
    "engine",
    "models",
    "loss",
    "batching",
    "checks",
    "masker",
    "config",
    "plugins",
    "builtin",
    "hookspecs",
    "strategy",
    "tokens",
    "data_weights",
    "chat",
    "records",
    "embedded",
    "pages",
    "findings",
    "palette",
    "kinds",
    "errors",
]
PACKAGE = Path(maskkit.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("__init__.py", "__main__.py"))


def layer(name: str) -> int | None:
    return ORDER.index(name) if name in ORDER else None


def imported(path: Path) -> set[str]:
    """Top-level parts of maskkit that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "maskkit":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("maskkit.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path):
    own = layer(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    if own is None:
        assert path.relative_to(PACKAGE).parts[0] == "testing"
        return
    upward = {name for name in imported(path) if (other := layer(name)) is not None and other < own}
    assert not upward, f"{path.name} imports {upward}, which stand above it"


def test_every_public_name_exists_and_is_listed_once():
    assert maskkit.__all__ == [*sorted(n for n in maskkit.__all__ if n != "__version__"), "__version__"]
    for name in maskkit.__all__:
        assert getattr(maskkit, name) is not None


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        maskkit.nonsense  # noqa: B018


def test_public_names_are_typed_for_those_who_check():
    """The names that are loaded when first used stand under TYPE_CHECKING too."""
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    for name in maskkit.__all__[:-1]:
        assert f"import {name} as {name}" in source
