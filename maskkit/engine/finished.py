"""Has the run in a folder come to its end already? Then resuming it would only do again what is done, and it is left as it is.

A run is over when metrics.jsonl ends with the event ``end`` and model/ is there: one that was killed before that has still to be ended.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from maskkit.engine.answers import Answer
from maskkit.engine.best import Best
from maskkit.engine.evaluate import Evaluation
from maskkit.engine.metrics import read_metrics
from maskkit.engine.result import SAMPLES, TrainResult
from maskkit.engine.run_folder import RunFolder

if TYPE_CHECKING:
    from maskkit.config import RunConfig

OF_THE_END = (
    *("first_loss", "last_loss", "accuracy", "train_rows", "rows_seen", "epochs", "eval_rows", "trained_share"),
    *("findings", "batches_skipped", "best_step", "seconds"),
)
"""What of a result the event ``end`` holds."""


class Finished:
    """A run that is over, read from its folder. lines: its events, the last of which is ``end``."""

    def __init__(self, folder: RunFolder, lines: list[dict[str, Any]]) -> None:
        self._folder, self._end = folder, lines[-1]
        self._events = {line["event"] for line in lines}
        self._evaluations = {line["step"]: _evaluation(line) for line in lines if line["event"] == "eval"}
        self.step: int = self._end["step"]
        """The last one."""
        self.complete = self._end.keys() >= set(OF_THE_END)
        """Whether all of its result can be read; other versions wrote less."""

    def exhausted(self, metric: str | None, patience: int | None) -> bool:
        """Whether its held-out losses would have ended a run with such a ``save_best`` and ``early_stopping_patience``."""
        best = Best(metric, patience)
        for step, found in self._evaluations.items():
            best.update(found, step)
        return best.exhausted

    def result(self) -> TrainResult:
        """What it handed back when it ended."""
        answers = self._answers() if "answers" in self._events else []
        return TrainResult(
            steps=self.step,
            eval_before=self._evaluations.get(0),
            eval_after=self._evaluations[max(self._evaluations)] if self._evaluations else None,
            answers=sum(answer.correct is not None for answer in answers),
            samples=tuple(answers[:SAMPLES]),
            **{name: self._end[name] for name in OF_THE_END},
            **self._folder.places,
        )

    def _answers(self) -> list[Answer]:
        path = self._folder.samples
        return [Answer(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] if path.exists() else []


def finished_run(folder: RunFolder) -> Finished | None:
    """The run in ``folder`` if it is over; None where it is not, or its metrics cannot be read."""
    if not (folder.model.is_dir() and folder.metrics.is_file()):
        return None
    try:
        events = read_metrics(folder.metrics)
    except ValueError:  # killed in the middle of a line, or damaged: a resumed run says so
        return None
    return Finished(folder, events) if events and events[-1]["event"] == "end" else None


def nothing_left(finished: Finished, config: RunConfig, made_with: RunConfig) -> bool:
    """Whether ``config`` asks for no step beyond those of a run that is over; it may have ended early, for want of a lower loss.

    made_with: the config of its newest checkpoint.
    """
    training = config.training
    if not finished.complete:
        return False
    if finished.step >= training.max_steps:
        return True
    measured_alike = training.save_best == made_with.training.save_best  # else the loss that decides is another one from here on
    return measured_alike and finished.exhausted(training.save_best, training.early_stopping_patience)


def _evaluation(line: dict[str, Any]) -> Evaluation:
    values = {each.name: line[each.name] for each in fields(Evaluation)}
    return Evaluation(**{**values, "perplexity": math.inf if values["perplexity"] is None else values["perplexity"]})
