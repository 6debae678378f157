"""One colour per kind, for every picture: terminal, page and drawing."""

from __future__ import annotations

KIND_COLORS: dict[str, str] = {
    "system": "#8250df",
    "user": "#0969da",
    "reasoning": "#bf8700",
    "answer": "#1a7f37",
    "tool_call": "#bc4c00",
    "tool_result": "#1b7c83",
    "stop": "#cf222e",
    "template": "#6e7781",
    "text": "#57606a",
    "unknown": "#d4a72c",
}
"""Kind -> ``#rrggbb``, readable as a fill behind dark text at low opacity and as text on white and on black."""
