"""The page of ``maskkit compare``: what each mask did to behaviour, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from maskkit.engine.answers import Answer
from maskkit.engine.curves import Line, Panel, figure
from maskkit.inspect.compare import Comparison, Measure, Side
from maskkit.inspect.compare.comparison import COSTS
from maskkit.inspect.compare.measures import reasoning_of
from maskkit.inspect.compare.steps import equations
from maskkit.inspect.selections import in_one_line
from maskkit.pages.shell import render
from maskkit.pages.visible import visible

COLORS = ("#1f77b4", "#e07b00", "#2a9d5c", "#c2335a", "#7b5cc4", "#8c6d46", "#0e9aa7", "#b58900")
"""Of the strategies, in the order given; they can be told apart on light and on dark."""

QUESTIONS = 12
"""How many prompts are shown with every strategy's reply."""


@dataclass(frozen=True)
class Cell:
    """A measure of a strategy, for the table."""

    text: str
    spread: str
    share: float | None
    """Length of the bar, in [0, 1]."""


@dataclass(frozen=True)
class Finding:
    """How two strategies differ in one measure."""

    measure: str
    about: str
    sides: tuple[str, str]
    text: str
    clear: bool


def compare_page(comparison: Comparison, config: str = "") -> str:
    """The page as HTML. config: the one that all runs share, as YAML."""
    sides = [(side, COLORS[number % len(COLORS)]) for number, side in enumerate(comparison.sides)]
    findings = list(_findings(comparison))
    return render(
        "compare.html",
        style="compare.css",
        title="What the mask does to behaviour",
        sides=[(side.label, in_one_line(side.spec), color) for side, color in sides],
        seeds=comparison.seeds,
        rows=[(m.name, m.about, list(_cells(comparison.sides, m))) for m in [*comparison.measures(), *COSTS]],
        clear=[finding for finding in findings if finding.clear],
        unclear=[finding for finding in findings if not finding.clear],
        figures=[(kind, _figure(sides, kind)) for kind in comparison.kinds()],
        questions=list(_questions(comparison)),
        config=config,
    )


def _cells(sides: Sequence[Side], measure: Measure) -> Iterator[Cell]:
    spreads = [side.spread(measure.of) for side in sides]
    most = 1.0 if measure.percent else max((spread.mean for spread in spreads if spread), default=0.0)
    for spread in spreads:
        if spread is None:
            yield Cell("–", "", None)
        else:
            about = f"± {measure.text(spread.deviation)}" if spread.deviation is not None else ""
            yield Cell(measure.text(spread.mean), about, max(0.0, min(1.0, spread.mean / most)) if most else 0.0)


def _findings(comparison: Comparison) -> Iterator[Finding]:
    for one, other, measure, found in comparison.differences():
        margin = found.spread.margin
        text = f"{'+' if found.spread.mean > 0 else ''}{_points(measure, found.spread.mean)}"
        text += f" (95 % interval ± {_points(measure, margin)})" if margin is not None else ""
        yield Finding(measure.name, measure.about, (one.label, other.label), text, bool(found.clear))


def _points(measure: Measure, value: float) -> str:
    return f"{100 * value:.1f} points" if measure.percent else f"{value:.3g}"


def _figure(sides: Sequence[tuple[Side, str]], kind: str) -> Markup:
    """Held-out loss of a kind over steps: each seed faint, their mean strong; dashed where the strategy does not train the kind."""
    lines = []
    for side, color in sides:
        found = [run.curves[kind] for run in side.runs if kind in run.curves]
        dashed = not any(kind in run.trained_kinds for run in side.runs)
        if len(found) > 1:
            lines += [Line("", color, curve, faint=True) for curve in found]
        if found:
            mean = [(points[0][0], sum(loss for _, loss in points) / len(points)) for points in zip(*found, strict=False)]
            lines.append(Line(side.label, color, mean, dashed=dashed, marks=True))
    return figure(Panel(f"{kind}, held out", lines))


@dataclass(frozen=True)
class Said:
    """One model's reply to a prompt, for the page."""

    text: str
    answer: str
    verdict: str
    """``right``, ``wrong``, or nothing where there is no reference."""
    stopped: bool
    steps: Sequence[tuple[str, bool]]
    """Equations in its reasoning, and whether they hold."""


def _questions(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Some prompts with each strategy's reply under the first seed, those first where strategies disagree."""
    by_source = [{reply.source: reply for reply in side.runs[0].replies} for side in comparison.sides]
    shared = [source for source in by_source[0] if all(source in replies for replies in by_source)]
    shared.sort(key=lambda source: len({replies[source].correct for replies in by_source}), reverse=True)
    for source in shared[:QUESTIONS]:
        replies = [replies[source] for replies in by_source]
        reference = replies[0].reference
        yield {
            "source": visible(source),
            "prompt": _lines(replies[0].prompt),
            "reference": None if reference is None else visible(reference),
            "replies": [_said(reply) for reply in replies],
        }


def _said(reply: Answer) -> Said:
    verdict = "" if reply.correct is None else "right" if reply.correct else "wrong"
    return Said(_lines(reply.completion), visible(reply.answer), verdict, reply.stopped, equations(reasoning_of(reply)))


def _lines(text: str) -> str:
    """Text in its lines, with a picture for everything else that nobody sees."""
    return "\n".join(map(visible, text.split("\n")))
