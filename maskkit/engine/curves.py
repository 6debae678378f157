"""Loss curves as one SVG file, drawn from what metrics.jsonl holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from markupsafe import Markup

from maskkit.kinds import KINDS
from maskkit.palette import KIND_COLORS

Point = tuple[float, float]

INK, FAINT, GRID = "#263238", "#90a4ae", "#e4e9ec"
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 400, 260, 58, 56, 150
STYLE = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:12px"


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    """For the legend; a curve without a name is not in it."""
    color: str
    points: Sequence[Point]
    dashed: bool = False
    faint: bool = False
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes with its curves."""

    title: str
    lines: Sequence[Line] = field(default_factory=list)


def loss_curves(metrics: Sequence[Mapping[str, Any]], trained_kinds: Sequence[str] = ()) -> str:
    """The SVG of a run. metrics: the lines of metrics.jsonl."""
    return svg(loss_panels(metrics, trained_kinds))


def loss_panels(metrics: Sequence[Mapping[str, Any]], trained_kinds: Sequence[str] = ()) -> list[Panel]:
    """Training and held-out loss on the left, the loss of each kind on the right (dashed where it is not trained)."""
    train = [(m["step"], m["loss"]) for m in metrics if m["event"] == "train"]
    held_out = [(m["step"], m["loss"]) for m in metrics if m["event"] == "eval"]
    left = [Line("each step", "#1565c0", train, faint=True), Line("training", "#1565c0", smoothed(train))]
    left.append(Line("held out", "#ef6c00", held_out, marks=True))
    source = "eval" if held_out else "kinds"
    by_kind: dict[str, list[Point]] = {}
    for line in metrics:
        if line["event"] == source:
            for kind, loss in line["kinds"].items():
                by_kind.setdefault(kind, []).append((line["step"], loss))
    right = [
        Line(kind, KIND_COLORS[kind], points, dashed=kind not in trained_kinds, marks=len(points) < 12)
        for kind, points in sorted(by_kind.items(), key=lambda item: KINDS.index(item[0]))
    ]
    where = "held-out rows" if held_out else "training rows"
    return [Panel("Loss", left), Panel(f"Loss by kind of token, {where} (dashed: not trained)", right)]


def figure(panel: Panel) -> Markup:
    """One pair of axes for a page, in the page's colours."""
    drawn = svg([panel]).replace('fill="#ffffff"', 'fill="none"')
    for color, name in ((INK, "ink"), (FAINT, "muted"), (GRID, "line")):
        drawn = drawn.replace(f'"{color}"', f'"var(--{name})"')
    return Markup('<div class="scroll" tabindex="0">') + Markup(drawn) + Markup("</div>")


def smoothed(points: Sequence[Point], share: float = 0.04) -> list[Point]:
    """Mean over about ``share`` of the points around each, fewer near the beginning, where losses fall fastest."""
    reach = int(len(points) * share / 2)
    out: list[Point] = []
    for number, (step, _) in enumerate(points):
        half = min(number, reach)
        near = points[number - half : number + half + 1]
        out.append((step, sum(value for _, value in near) / len(near)))
    return out


def svg(panels: Sequence[Panel]) -> str:
    """The panels side by side."""
    longest = max((len(line.name) for panel in panels for line in panel.lines), default=0)
    across = PANEL_WIDTH + max(GAP, 80 + 7 * longest)  # the legend stands right of the curves, each name with a number
    width = LEFT + len(panels) * across
    height = TOP + PANEL_HEIGHT + 54
    body = "".join(f'<g transform="translate({LEFT + number * across},{TOP})">{_panel(panel)}</g>' for number, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="{STYLE}" role="img">'
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>{body}</svg>\n'
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between low and high."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / about
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _panel(panel: Panel) -> str:
    lines = [line for line in panel.lines if line.points]
    points = [point for line in lines for point in line.points if math.isfinite(point[1])]
    title = f'<text x="0" y="-22" font-size="14" font-weight="600" fill="{INK}">{escape(panel.title)}</text>'
    if not points:
        return title + f'<text x="0" y="20" fill="{FAINT}">nothing was measured</text>'
    last_step = max(1.0, max(x for x, _ in points))
    top = max(y for _, y in points) * 1.05 or 1.0
    bottom = min(0.0, min(y for _, y in points))

    def place(point: Point) -> Point:
        return point[0] / last_step * PANEL_WIDTH, PANEL_HEIGHT - (point[1] - bottom) / (top - bottom) * PANEL_HEIGHT

    return title + _axes(last_step, bottom, top, place) + "".join(_curve(line, place) for line in lines) + _legend(lines)


def _axes(last_step: float, bottom: float, top: float, place: Any) -> str:
    parts = []
    for value in ticks(bottom, top):
        y = place((0, value))[1]
        parts.append(f'<path d="M0 {y:.1f}H{PANEL_WIDTH}" stroke="{GRID}"/>')
        parts.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{value:.4g}</text>')
    for step in ticks(0, last_step):
        x = place((step, bottom))[0]
        parts.append(f'<text x="{x:.1f}" y="{PANEL_HEIGHT + 18}" text-anchor="middle" fill="{INK}">{step:.6g}</text>')
    parts.append(f'<path d="M0 {PANEL_HEIGHT}H{PANEL_WIDTH}" stroke="{FAINT}"/>')
    parts.append(f'<text x="{PANEL_WIDTH / 2}" y="{PANEL_HEIGHT + 38}" text-anchor="middle" fill="{FAINT}">step</text>')
    parts.append(
        f'<text x="-44" y="{PANEL_HEIGHT / 2}" text-anchor="middle" fill="{FAINT}" '
        f'transform="rotate(-90 -44 {PANEL_HEIGHT / 2})">nats per token</text>'
    )
    return "".join(parts)


def _curve(line: Line, place: Any) -> str:
    placed = [place(point) for point in line.points if math.isfinite(point[1])]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
    width, opacity = (1, 0.25) if line.faint else (2, 1)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    drawn = f'<path d="{path}" fill="none" stroke="{line.color}" stroke-width="{width}" opacity="{opacity}" stroke-linejoin="round"{dash}/>'
    if line.marks or len(placed) == 1:
        drawn += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.color}"/>' for x, y in placed)
    return drawn


def _legend(lines: Sequence[Line]) -> str:
    entries = []
    for number, line in enumerate(line for line in lines if line.name):
        y = number * 19 + 8
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        opacity = 0.35 if line.faint else 1
        name = escape(line.name) if line.faint else f"{escape(line.name)} {line.points[-1][1]:.3f}"
        stroke = f'stroke="{line.color}" stroke-width="2.5" opacity="{opacity}"{dash}'
        entries.append(f'<path d="M{PANEL_WIDTH + 12} {y}h18" {stroke}/>')
        entries.append(f'<text x="{PANEL_WIDTH + 36}" y="{y + 4}" fill="{INK}">{name}</text>')
    return "".join(entries)
