"""What a run shows while it runs: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step has to say."""

    step: int
    loss: float
    trained_share: float
    """Share of the tokens whose loss counts, in [0, 1]."""
    tokens_per_second: float


class Progress:
    """Shows step, loss, tokens per second, trained share and the time left. A context manager."""

    def __init__(self, steps: int, *, show: bool = True) -> None:
        self._steps, self._show = steps, show
        self._done_before = 0
        self._bar: Any = None
        self._task: Any = None
        self._console: Any = None
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        if self._show:
            from rich.console import Console

            self._console = Console(stderr=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def shown(self) -> bool:
        """Whether anything is shown at all."""
        return self._show

    def begin(self, done: int = 0) -> None:
        """Training begins now, after ``done`` steps of an earlier process: reading the data is no part of the time that a step takes."""
        self._done_before = done
        self._started = self._last_line = time.monotonic()
        if self._console is not None and self._console.is_terminal:
            self._bar = _bar(self._console)
            self._bar.start()
            self._task = self._bar.add_task("train", total=self._steps, completed=done, loss="", speed="", share="")

    def step(self, report: StepReport) -> None:
        """One step is done."""
        if self._bar is not None:
            speed, share = f"{report.tokens_per_second:,.0f} tokens/s", f"{report.trained_share:.0%} trained"
            self._bar.update(self._task, completed=report.step, loss=f"loss {report.loss:.4f}", speed=speed, share=share)
        elif self._show and (
            report.step in (self._done_before + 1, self._steps) or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES
        ):
            self._last_line = time.monotonic()
            self.say(self._line(report))

    def say(self, message: str) -> None:
        """A line above the bar."""
        if self._console is not None:
            self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _line(self, report: StepReport) -> str:
        left = (time.monotonic() - self._started) / (report.step - self._done_before) * (self._steps - report.step)
        return (
            f"step {report.step}/{self._steps}  loss {report.loss:.4f}  {report.tokens_per_second:,.0f} tokens/s  "
            f"{report.trained_share:.0%} trained  {left:.0f} s left"
        )


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    fields = [TextColumn("{task.fields[" + name + "]}") for name in ("loss", "speed", "share")]
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *fields, TimeRemainingColumn()]
    return RichProgress(*columns, console=console, transient=True)
