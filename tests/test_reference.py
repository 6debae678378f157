"""The pages about hooks and the contract are what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from maskkit import hookspecs

SCRIPT = Path(__file__).parent.parent / "docs" / "make_reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_what_the_code_says(reference: ModuleType):
    written = {path.name: path.read_text(encoding="utf-8") for path in reference.TARGET.glob("*.md")}
    assert written == reference.pages(), "run  python docs/make_reference.py"


def test_every_hook_has_a_page_with_every_argument(reference: ModuleType):
    pages = reference.pages()
    for name in vars(hookspecs):
        if name.startswith("maskkit_"):
            arguments = getattr(hookspecs, name).__code__.co_varnames
            assert all(f"| `{argument}` |" in pages[f"{name}.md"] for argument in arguments)
            assert f"({name}.md)" in pages["README.md"]


def test_an_argument_that_nothing_describes_is_an_error(reference: ModuleType):
    def maskkit_undescribed(run, step):
        """Something happened.

        Args:
            run: which run it is.
        """

    with pytest.raises(ValueError, match="does not describe just its arguments: step"):
        reference.hook_page("maskkit_undescribed", maskkit_undescribed)
