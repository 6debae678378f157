"""metrics.jsonl: what a run measured, one JSON object a line, written at once so that a run that dies leaves all it knew."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from maskkit.engine.durable import part_of
from maskkit.errors import TrainingError

logger = logging.getLogger(__name__)

Observer = Callable[[str, int, Mapping[str, Any]], None]
"""Told event, step and values."""

AFTER_TRAINING = ("answers", "end", "stopped", "failed")
"""Events that a run which goes on writes later, or never."""


class MetricsLog:
    """Appends events to a file. Each line has ``event`` (start, train, kinds, eval, skipped, spike, answers, end, stopped, failed) and
    ``step``.

    Everything but ``seconds``, ``tokens_per_second`` and ``date`` is a function of the config and the data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.observer: Observer | None = None
        """Told of every line that was written."""
        # unbuffered: a line is in the file or not, and a full disk is noticed here and not when the file is closed
        self._file = path.open("ab", buffering=0)

    def write(self, event: str, step: int, **values: Any) -> None:
        """One line; numbers that JSON does not know (NaN, infinity) become null. Raises TrainingError on a full disk, and leaves
        no half line."""
        plain = {name: _plain(value) for name, value in values.items()}
        line = {"event": event, "step": step, **plain}
        rest, start = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode(), self._file.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(start)
            raise TrainingError(f"step {step}: {self.path} cannot be written: {error.strerror}; make room, then --resume") from error
        if self.observer:
            self.observer(event, step, plain)

    def position(self) -> int:
        """Bytes written so far, all of them on the disk."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def cut(self, position: int, step: int) -> None:
        """Forget what was written after ``position``, a `position` of step ``step``: a resumed run will measure it again.

        Where the file is shorter, or no line ends there, complete lines up to that step are kept, and a warning says so.
        """
        lines = self.path.read_bytes()
        kept = lines[:position]
        if len(kept) < position or not kept.endswith(b"\n"):
            kept = b"".join(line for line in lines.splitlines(keepends=True) if _belongs(line, step))
            logger.warning("%s is not as the checkpoint of step %d knew it: %d lines are kept", self.path, step, kept.count(b"\n"))
            self._file.close()
            part = part_of(self.path)
            part.write_bytes(kept)
            part.replace(self.path)
            self._file = self.path.open("ab", buffering=0)
        self._file.truncate(len(kept))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class NoMetrics(MetricsLog):
    """What the other processes of a run have: the first one writes the metrics of all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, step: int, **values: Any) -> None:
        """Nothing."""

    def position(self) -> int:
        """Nothing is written."""
        return 0

    def cut(self, position: int, step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_metrics(path: Path, event: str | None = None) -> list[dict[str, Any]]:
    """The lines of a metrics file, of one event or of all."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if event is None or line["event"] == event]


def _belongs(line: bytes, step: int) -> bool:
    """A complete line of a run that has come to ``step``."""
    try:
        values = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return False
    return isinstance(values, dict) and values.get("step", step + 1) <= step and values.get("event") not in AFTER_TRAINING


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
