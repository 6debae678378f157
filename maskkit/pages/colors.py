"""Colours of the pages, on light and on dark: any text stands out from its ground by at least 4.5 : 1.

Kinds have the colours of `maskkit.palette`. A token that counts stands on a ground of its kind's colour, mixed with the page's, the more of
it the more the token counts; one that does not is written in its kind's colour, made darker or lighter until it can be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from maskkit.palette import KIND_COLORS

LEVELS = 8
"""Steps of intensity between a weight near 0 and the largest."""

ENOUGH = 4.5
"""Least contrast of text, as WCAG 2.2 AA asks (success criterion 1.4.3)."""

_FAINTEST = 0.24
"""How much of the strongest ground the faintest has."""
_SPARE = 0.15
"""Contrast beyond what is enough, for rounding."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours ``#rrggbb`` of one of the two appearances."""

    ground: str
    """Of the page."""
    panel: str
    """Of what stands on it."""
    ink: str
    muted: str
    line: str
    accent: str
    """Of links, focus and bars."""
    alarm: str
    """Of findings."""
    strongest: float
    """Most that a kind's colour may have in a ground."""

    @property
    def extreme(self) -> str:
        """Towards which text moves until it can be read: black on light, white on dark."""
        return "#000000" if luminance(self.ground) > 0.5 else "#ffffff"


LIGHT = Theme("#f7f8fa", "#ffffff", "#1b1f24", "#57606a", "#d8dee4", "#0a5fc2", "#b3212d", 0.55)
DARK = Theme("#0d1117", "#151b23", "#e9edf2", "#9aa4af", "#30363d", "#6cb2ff", "#ff8a80", 0.6)


def luminance(color: str) -> float:
    """Relative luminance, 0 (black) to 1 (white), as WCAG 2.2 defines it."""
    channels = [part / 255 for part in _parts(color)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21, as WCAG 2.2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """The colour that has ``share`` of ``other``, and of ``one`` the rest."""
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_parts(one), _parts(other), strict=True))


def level(weight: float, top: float) -> int:
    """Intensity of a weight, 0 (it is zero) to `LEVELS` (it is as large as ``top``, the largest beside it)."""
    return min(max(math.ceil(abs(weight) / top * LEVELS), 1), LEVELS) if weight else 0


def ground(kind: str, intensity: int, theme: Theme) -> str:
    """What a token of that kind stands on; intensity: 1 to `LEVELS`."""
    strongest = theme.strongest
    while contrast(theme.ink, mixed(theme.panel, KIND_COLORS[kind], strongest)) < ENOUGH + _SPARE:
        strongest -= 0.02
    share = _FAINTEST + (1 - _FAINTEST) * (intensity - 1) / (LEVELS - 1)
    return mixed(theme.panel, KIND_COLORS[kind], strongest * share)


def stripe(kind: str, intensity: int, theme: Theme) -> str:
    """The second colour of the ground of a negative weight, which is striped."""
    return mixed(ground(kind, intensity, theme), theme.panel, 0.55)


def ink(kind: str, theme: Theme) -> str:
    """Text of a kind that does not count, on a panel or on the page."""
    color = mixed(KIND_COLORS[kind], theme.muted, 0.25)
    while min(contrast(color, theme.panel), contrast(color, theme.ground)) < ENOUGH + _SPARE:
        color = mixed(color, theme.extreme, 0.05)
    return color


def style_sheet() -> str:
    """CSS: the colours of both themes as custom properties, and a rule for each kind and intensity."""
    dark = "\n".join(_rules(DARK))
    return "\n".join([*_rules(LIGHT), "@media (prefers-color-scheme: dark) {", dark, "}"])


def _rules(theme: Theme) -> Iterator[str]:
    names = ("ground", "panel", "ink", "muted", "line", "accent", "alarm")
    scheme = "dark" if theme is DARK else "light"
    own = " ".join(f"--{name}: {getattr(theme, name)};" for name in names)
    yield f":root {{ color-scheme: {scheme}; {own} --edge: {mixed(theme.muted, theme.panel, 0.4)}; }}"
    for kind in KIND_COLORS:
        yield f".{kind} {{ --kind: {ink(kind, theme)}; --fill: {KIND_COLORS[kind] if theme is LIGHT else ink(kind, theme)}; }}"
        for intensity in range(1, LEVELS + 1):
            yield f".{kind}.w{intensity} {{ --on: {ground(kind, intensity, theme)}; --stripe: {stripe(kind, intensity, theme)}; }}"


def _parts(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]
