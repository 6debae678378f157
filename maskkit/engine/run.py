"""One run: the parts that the loop works with, and what it measures and writes on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from maskkit.engine.answers import Answer, Question, accuracy, greedy_answers
from maskkit.engine.batches import Batcher, MicroBatch
from maskkit.engine.curves import loss_curves
from maskkit.engine.data import RunData
from maskkit.engine.evaluate import Evaluation, evaluate, kind_losses
from maskkit.engine.metrics import MetricsLog, read_metrics
from maskkit.engine.order import EpochOrder
from maskkit.engine.predict import Predictor
from maskkit.engine.progress import Progress, StepReport
from maskkit.engine.run_folder import RunFolder, save_model, write_lines, write_text
from maskkit.findings import CODES
from maskkit.loss import Normalizer
from maskkit.masker import Masker


@dataclass(frozen=True, slots=True)
class Every:
    """How often things are done, in steps; 0 is never."""

    kinds: int = 0
    evaluation: int = 0
    save: int = 0


@dataclass(slots=True)
class Run:
    """All parts of a run. Built by `maskkit.engine.setup.prepare`."""

    folder: RunFolder
    tokenizer: Any
    model: Any
    masker: Masker
    data: RunData
    order: EpochOrder
    batcher: Batcher
    normalizer: Normalizer
    predict: Predictor
    optimizer: Optimizer
    schedule: LRScheduler
    max_grad_norm: float | None
    rows_per_step: int
    steps: int
    every: Every
    questions: list[Question]
    stops: list[int]
    max_new_tokens: int
    metrics: MetricsLog
    progress: Progress
    losses: list[float] = field(default_factory=list)
    """Weighted loss of each global batch."""
    tokens_seen: int = 0
    tokens_trained: int = 0
    last_evaluation: Evaluation | None = None

    def announce(self) -> None:
        """Say what the run is made of, and everything that was noticed in the data."""
        rows, trained = len(self.data.train), sum(row.loss_weights.any() for row in self.data.train)
        name = "replies" if self.masker.history == "as-served" else "rows"
        self.progress.say(
            f"strategy {self.masker.strategy.label}: trains {trained} of {rows} {name}; {len(self.data.held_out)} {name} are held out"
        )
        if self.data.dropped:
            self.progress.say(f"{self.data.dropped} rows are left out altogether")
        if self.data.leaked:
            self.progress.say(f"{self.data.leaked} training rows are also held out: their loss and answers say nothing about new rows")
        if not self.predict.head.plain:
            self.progress.say(f"full logits are computed for every token ({self.predict.head.reason}): more time and memory per step")
        for code, count in sorted(self.masker.counts.items()):
            self.progress.say(f"{count} rows: {code} ({CODES[code]})")

    def measure_kinds(self, step: int, batch: MicroBatch) -> None:
        """Every few steps: the loss of each kind of token, trained or not, in one training batch."""
        if _due(step, self.every.kinds):
            self.metrics.write("kinds", step, kinds=kind_losses(self.predict, batch))

    def report(self, step: int, loss: float, norm: float, learning_rate: float, batches: Sequence[MicroBatch], seconds: float) -> None:
        """Write down and show what a step did."""
        tokens, trained = sum(batch.token_count for batch in batches), sum(len(batch.entries) for batch in batches)
        self.losses.append(loss)
        self.tokens_seen += tokens
        self.tokens_trained += trained
        values = {"loss": loss, "grad_norm": norm, "learning_rate": learning_rate, "tokens": tokens, "trained_tokens": trained}
        self.metrics.write("train", step, **values, seconds=round(seconds, 4), tokens_per_second=round(tokens / seconds, 1))
        self.progress.step(StepReport(step, loss, trained / tokens, tokens / seconds))

    def after(self, step: int) -> None:
        """What is due after the update: evaluation (always after the last step), a saved model."""
        if _due(step, self.every.evaluation) or step == self.steps:
            self.evaluate(step)
        if _due(step, self.every.save) and step < self.steps:
            save_model(self.model, self.tokenizer, self.folder.step_model(step))

    def evaluate(self, step: int) -> Evaluation | None:
        """Measure the held-out rows; None where there are none."""
        if not self.data.held_out:
            return None
        self.last_evaluation = evaluate(self.predict, self.masker, self.batcher, self.data.held_out)
        found = self.last_evaluation
        self.metrics.write("eval", step, loss=found.loss, kinds=found.kinds, tokens=found.tokens)
        kinds = "  ".join(f"{kind} {loss:.3f}" for kind, loss in found.kinds.items())
        self.progress.say(f"step {step}: held-out loss {found.loss:.4f}  ({kinds})")
        return found

    def answer(self) -> list[Answer]:
        """The model's greedy replies to the held-out prompts, written to samples.jsonl."""
        self.progress.say(f"answering {len(self.questions)} held-out prompts")
        answers = greedy_answers(
            self.predict, self.tokenizer, self.questions, self.stops, max_new_tokens=self.max_new_tokens, batch_size=self.batcher.size
        )
        write_lines(self.folder.samples, (answer.row() for answer in answers))
        self.metrics.write("answers", self.steps, accuracy=accuracy(answers), count=len(answers))
        return answers

    def draw(self) -> None:
        """Draw the loss curves of what was measured so far."""
        write_text(self.folder.curves, loss_curves(read_metrics(self.folder.metrics), self.data.trained_kinds()))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
