"""Fixtures for tests of strategies, there as soon as maskkit is installed. Nothing is imported before one is used."""

from __future__ import annotations

import copy
from typing import Any

import pytest


@pytest.fixture
def tiny_tokenizer() -> Any:
    """maskkit's embedded tokenizer, with a chat template that knows reasoning and tools; each test has one of its own."""
    from maskkit import embedded

    return embedded.tiny_tokenizer()


@pytest.fixture
def tiny_model() -> Any:
    """maskkit's embedded model, untrained and the same in every test."""
    from maskkit import embedded

    return embedded.tiny_model(seed=0)


@pytest.fixture
def conversations() -> dict[str, dict[str, Any]]:
    """Rows of every shape, by what they show."""
    from maskkit.testing import CONVERSATIONS

    return copy.deepcopy(CONVERSATIONS)


@pytest.fixture
def templates() -> dict[str, str]:
    """Chat templates of several families, by what is particular to them."""
    from maskkit.testing import TEMPLATES

    return dict(TEMPLATES)
