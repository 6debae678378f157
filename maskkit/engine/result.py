"""What a run hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskkit.engine.answers import Answer
from maskkit.engine.evaluate import Evaluation

SAMPLES = 3
"""How many replies the result shows."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The outcome of a finished run; losses are in nats per token."""

    steps: int
    first_loss: float
    """Weighted loss of the first global batch, before any update."""
    last_loss: float
    """Weighted loss of the last global batch."""
    eval_before: Evaluation | None
    """Held-out rows before the first update; None without held-out rows."""
    eval_after: Evaluation | None
    """Held-out rows after the last update."""
    accuracy: float | None
    """Share of greedy answers that equal the reference answer; None where no held-out row has an answer."""
    answers: int
    """How many answers that share is of."""
    samples: tuple[Answer, ...]
    """Some of the replies."""
    train_rows: int
    """How many rows there are to train on; of a stream, how many were taken."""
    eval_rows: int
    trained_share: float
    """Share of all tokens seen in training whose loss counted."""
    findings: Mapping[str, int]
    """What was noticed in the data: code of `maskkit.findings.CODES` -> number of rows."""
    seconds: float
    output_dir: Path
    model_dir: Path
    metrics_path: Path
    curves_path: Path
    report_path: Path
    samples_path: Path
    batches_skipped: int = 0
    """Global batches that trained nothing and were passed over (``training.on_empty_batch: skip``)."""
    rows_seen: int = 0
    """Rows that steps were made of, as often as they were in one."""
    epochs: float | None = None
    """How many times through the training rows that is, each as often as its weight says; None for a stream."""
    rank: int = 0
    """Which of several processes returned this; all return the same, so only 0 need show it."""
    best_step: int | None = None
    """When the held-out loss (``training.save_best``) was the lowest; None without held-out rows."""

    @property
    def kinds(self) -> Mapping[str, float]:
        """Held-out loss of each segment kind after training, trained or not."""
        return self.eval_after.kinds if self.eval_after else {}
