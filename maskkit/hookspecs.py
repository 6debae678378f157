"""The contract between maskkit and its plugins: every hook there is.

A plugin is a distribution with an entry point in the group ``maskkit`` whose module implements a hook:

    import maskkit

    @maskkit.hookimpl
    def maskkit_strategies():
        return [MyStrategy]

It may declare ``MASKKIT_CONTRACT = 1``, the version of this page that it was written for; absent means 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from maskkit.strategy import LossModifier, Strategy

CONTRACT = 1
"""Version of this page. A plugin that declares another one is not used."""

hookspec = pluggy.HookspecMarker("maskkit")
hookimpl = pluggy.HookimplMarker("maskkit")


@hookspec
def maskkit_strategies() -> list[type[Strategy | LossModifier]]:  # type: ignore[empty-body]
    """Return the classes that the plugin provides: strategies and loss modifiers, in any order."""
