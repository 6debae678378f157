"""What a finished run says about the behaviour of its model, read from its folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskkit.engine.answers import Answer
from maskkit.engine.metrics import read_metrics
from maskkit.errors import DataError, MaskkitError
from maskkit.inspect.compare.steps import equations

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Measures:
    """One run under one strategy and seed."""

    seed: int
    curves: Mapping[str, Curve]
    """By kind: (step, mean held-out loss in nats per token)."""
    trained_kinds: frozenset[str]
    replies: Sequence[Answer]
    seconds: float
    """Of the training steps together."""
    tokens: int
    trained_tokens: int
    stop_accuracy: float | None = None
    """Share of the held-out stop tokens that the model finds the likeliest at their place, after training; None where there are none."""

    @property
    def losses(self) -> dict[str, float]:
        """By kind: held-out loss after training."""
        return {kind: curve[-1][1] for kind, curve in self.curves.items()}

    @property
    def exact(self) -> float | None:
        """Share of the answers that are exactly right."""
        return _share([reply.correct for reply in self.replies if reply.correct is not None])

    @property
    def stopped(self) -> float | None:
        """Share of the replies that the model ended itself."""
        return _share([reply.stopped for reply in self.replies])

    @property
    def steps(self) -> float | None:
        """Share of the equations in the reasoning that hold; None where it writes none."""
        return _share([holds for reply in self.replies for _, holds in equations(reasoning_of(reply))])

    @property
    def step_count(self) -> float | None:
        """Equations in the reasoning, per reply."""
        return sum(len(equations(reasoning_of(reply))) for reply in self.replies) / len(self.replies) if self.replies else None

    @property
    def trained_share(self) -> float:
        """Share of the tokens seen whose loss counted."""
        return self.trained_tokens / self.tokens


def reasoning_of(reply: Answer) -> str:
    """What a model wrote before its answer."""
    return reply.completion[: reply.completion.rfind(reply.answer)] if reply.answer else reply.completion


@contextlib.contextmanager
def reading(what: Path, cure: str) -> Iterator[None]:
    """Raises DataError, naming ``what`` and the cure, where a file holds something else than was written to it."""
    try:
        yield
    except MaskkitError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:  # no JSON, or JSON of another shape
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{what} is damaged, it is not what maskkit compare writes ({said}): {cure}") from error


def read_measures(folder: Path) -> Measures:
    """The measures of a run folder. Raises DataError where the run has not come to its end, or a file of it is damaged."""
    with reading(folder, "remove the folder and run maskkit compare again"):
        return _read_measures(folder)


def _read_measures(folder: Path) -> Measures:
    metrics = read_metrics(folder / "metrics.jsonl")
    by_event: dict[str, list[dict[str, Any]]] = {}
    for line in metrics:
        by_event.setdefault(line["event"], []).append(line)
    if "end" not in by_event:
        raise DataError(f"{folder}: the run has not come to its end, so it cannot be compared")
    curves: dict[str, Curve] = {}
    for line in by_event.get("eval", []):
        for kind, loss in line["kinds"].items():
            curves.setdefault(kind, []).append((line["step"], loss))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return Measures(
        seed=record["config"]["training"]["seed"],
        curves=curves,
        trained_kinds=frozenset(by_event["start"][0]["trained_kinds"]),
        replies=_replies(folder / "samples.jsonl"),
        seconds=sum(line["seconds"] for line in by_event["train"]),
        tokens=sum(line["tokens"] for line in by_event["train"]),
        trained_tokens=sum(line["trained_tokens"] for line in by_event["train"]),
        stop_accuracy=by_event["eval"][-1].get("stop_accuracy") if "eval" in by_event else None,
    )


def _replies(path: Path) -> list[Answer]:
    if not path.is_file():
        return []
    return [Answer(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
