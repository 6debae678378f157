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
    "problems",
    "errors",
]
PACKAGE = Path(maskkit.__file__).parent
PATHS = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("__init__.py", "__main__.py"))

UPWARD = {
    ("builtin", "plugins"),  # a built-in that holds another strategy asks maskkit.load_strategy for it, as a stranger's plugin does
}
CIRCLES = [
    {"strategy.combining", "strategy.contract", "strategy.modifier", "strategy.weighing"},  # operators make what combining defines
    {"chat.containers", "chat.formatting", "chat.traced"},  # repr, % and format of a text may hold containers, which hold texts
]
"""Modules that import each other; why, says the first one's docstring, or that of `traced`."""


def module(path: Path) -> str:
    """Name of a module within maskkit."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in PATHS}


def imports(tree: ast.AST) -> set[str]:
    """Modules of maskkit that a module imports: also inside functions, for type checkers alone, and by public names."""
    found: set[str] = set()
    public = {f"maskkit.{name}": f"{home}.{name}" for name, home in maskkit._HOMES.items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {f"{node.value.id}.{node.attr}"} & public.keys()
    names = {public.get(name, name).removeprefix("maskkit.") for name in found if name.startswith("maskkit.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} & MODULES.keys()


def graph() -> dict[str, set[str]]:
    """What each module imports, but for the arrows of `UPWARD`."""
    return {
        name: {other for other in imported_by(name) if other != name and (package(name), package(other)) not in UPWARD} for name in MODULES
    }


def imported_by(name: str) -> set[str]:
    return imports(ast.parse(MODULES[name].read_text(encoding="utf-8")))


def package(name: str) -> str:
    return name.partition(".")[0]


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules from each of which every other can be reached."""
    reached = {start: reachable(start, arrows) for start in arrows}
    found: list[set[str]] = []
    for name in arrows:
        circle = {other for other in reached[name] if name in reached[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str):
    own = package(name)
    if own == "testing":  # beside the list: it may import all, and the command line may import it
        return
    found = {package(other) for other in imported_by(name)} - ({"testing"} if own == "cli" else set())
    upward = {other for other in found if other not in ORDER[ORDER.index(own) :] and (own, other) not in UPWARD}
    assert not upward, f"{name} imports {upward}, which stand above it"


def test_no_modules_import_each_other_but_these():
    found = [circle for circle in circles(graph()) if circle not in CIRCLES]
    assert not found, "modules import each other: move what both need to a module below them"


def test_circles_are_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}
    assert circles(arrows) == [{"b", "c"}, {"e", "f"}]


@pytest.mark.parametrize(
    "source",
    [
        "from maskkit.errors import ConfigError",
        "from maskkit import errors",
        "import maskkit.errors",
        "def f():\n    from maskkit.errors import ConfigError",
        "if TYPE_CHECKING:\n    from maskkit import ConfigError",
        "import maskkit\nmaskkit.ConfigError",
    ],
)
def test_imports_are_found(source: str):
    assert imports(ast.parse(source)) == {"errors"}


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
