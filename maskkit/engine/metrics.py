"""metrics.jsonl: what a run measured, one JSON object a line, written at once so that a run that dies leaves all it knew."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import IO, Any


class MetricsLog:
    """Appends events to a file. Each line has ``event`` (start, train, kinds, eval, answers, end, failed) and ``step``.

    Everything but ``seconds``, ``tokens_per_second`` and ``date`` is a function of the config and the data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, event: str, step: int, **values: Any) -> None:
        """One line; numbers that JSON does not know (NaN, infinity) become null."""
        line = {"event": event, "step": step, **{name: _plain(value) for name, value in values.items()}}
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_metrics(path: Path, event: str | None = None) -> list[dict[str, Any]]:
    """The lines of a metrics file, of one event or of all."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if event is None or line["event"] == event]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
