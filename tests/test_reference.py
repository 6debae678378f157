"""The pages about hooks and the contract are what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from maskkit import hookspecs
from maskkit.config import RunConfig

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


def test_every_key_of_a_config_has_its_line(reference: ModuleType):
    """Also those of sections, of which there is one for each model within the config."""
    page = reference.config_page()
    models = [RunConfig]
    for model in models:
        for name, field in model.model_fields.items():
            assert re.search(rf"^\| `{name}` \| [^|]+ \|.*\| \S.* \|$", page, re.M), f"{model.__name__}.{name} has no line, or no meaning"
            models += [inner for inner in inner_models(field.annotation) if inner not in models]
    assert {model.__name__ for model in models} > {"TrainingConfig", "LoraConfig", "DataSource"}
    assert page.count("\n| `") == sum(len(model.model_fields) for model in models)


def inner_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in inner_models(part)]


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
