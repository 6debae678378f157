"""Names of fields, as rules select them: ``content``, ``arguments``, ``tool_calls[0]``."""

from __future__ import annotations

import re

_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


def names_field(name: str, field: str) -> bool:
    """Does ``name`` name the field, or something that the field is part of?

    A name is any stretch of steps: ``arguments`` and ``tool_calls`` both name ``tool_calls[0].function.arguments.city``. Indices may be
    left out, and ``tool_calls[0]`` names the first call alone.
    """
    wanted = _STEP.findall(name)
    steps = _STEP.findall(field)
    if not any(step.startswith("[") for step in wanted):
        steps = [step for step in steps if not step.startswith("[")]
    return bool(wanted) and any(steps[at : at + len(wanted)] == wanted for at in range(len(steps) - len(wanted) + 1))
