"""For the tests of integrations: accelerate collects garbage before each run, among all that large packages brought with them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def what_is_imported_stays() -> Iterator[None]:
    """Garbage is looked for among what tests made alone, which takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
