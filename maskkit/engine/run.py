"""One run: the parts that the loop works with, and what it measures and writes on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import Signals

from safetensors import SafetensorError
from torch import Tensor

from maskkit.engine.answers import Answer, Question, accuracy, greedy_answers
from maskkit.engine.batches import Batcher, MicroBatch, global_denominator, row_count, sources_of, trains_nothing
from maskkit.engine.curves import loss_curves
from maskkit.engine.data import RunData
from maskkit.engine.durable import write_text
from maskkit.engine.evaluate import Evaluation, evaluate, kind_losses
from maskkit.engine.interrupt import SIGNALS, StopRequest
from maskkit.engine.metrics import read_metrics
from maskkit.engine.predict import Predictor
from maskkit.engine.progress import Progress, StepReport
from maskkit.engine.report import report_page
from maskkit.engine.reweighting import Reweighting
from maskkit.engine.run_folder import RunFolder, save_model, write_lines
from maskkit.engine.saving import saved_form
from maskkit.engine.spikes import usual_loss
from maskkit.engine.state import RunState, write_state
from maskkit.engine.tracking import Tracking
from maskkit.engine.weigh import Weigh
from maskkit.errors import TrainingError, TrainingStopped
from maskkit.findings import CODES
from maskkit.loss import Normalizer
from maskkit.masker import Masker


@dataclass(frozen=True, slots=True)
class Every:
    """How often things are done, in steps; 0 is never."""

    kinds: int = 0
    evaluation: int = 0
    save: int = 0
    """A checkpoint; the last step has one too, unless this is 0 and the run was never resumed."""


@dataclass(slots=True, kw_only=True)
class Run(RunState):
    """All parts of a run: beside what checkpoints hold, what its config gives. Built by `maskkit.engine.setup.prepare`."""

    folder: RunFolder
    masker: Masker
    batcher: Batcher
    normalizer: Normalizer
    predict: Predictor
    max_grad_norm: float | None
    plans_per_step: int
    """Micro-batches of a step, on all ranks together."""
    steps: int
    every: Every
    questions: list[Question]
    stops: list[int]
    max_new_tokens: int
    progress: Progress
    stop: StopRequest
    skip_empty_batches: bool = False
    merge_adapters: bool = False
    """A model with adapters is saved as a plain one."""
    tracking: Tracking | None = None
    """Who is told what the run does; only in the process that writes the run folder."""
    _skipped_in_a_row: int = 0
    _rows_skipped_in_a_row: int = 0
    reweighting: Reweighting = field(init=False)
    """The strategy's loss modifiers, where it has some."""

    def __post_init__(self) -> None:
        self.reweighting = Reweighting(self.masker.strategy.modifiers, self.normalizer, self.predict, self.ranks)

    @property
    def data(self) -> RunData:
        """What the run trains on and is measured on."""
        return self.feed.data

    @property
    def weigh(self) -> Weigh:
        """Gives planned rows with their weights."""
        return self.feed.weigh

    @property
    def finished(self) -> bool:
        """All steps are done, or the held-out loss has not fallen for too long."""
        return self.step >= self.steps or self.best.exhausted

    def remaining_steps(self) -> Iterator[int]:
        """Numbers of the steps still to do, counted from 1; a resumed run begins after those that were done."""
        while not self.finished:
            yield self.step + 1

    def announce(self) -> None:
        """Say what the run is made of, and everything that was noticed in the data; trackers hear of it from here on."""
        if self.tracking:
            self.tracking.started(self.step)
            self.metrics.observer = self.tracking.event
        rows, trained = len(self.data.train), self.data.train.trained
        name = "replies" if self.masker.history == "as-served" else "rows"
        of = f"the first {rows}" if self.data.streamed else str(rows)
        self.progress.say(
            f"strategy {self.masker.strategy.label}: trains {trained} of {of} {name}; {len(self.data.held_out)} {name} are held out"
        )
        if self.data.dropped:
            self.progress.say(f"{self.data.dropped} rows are left out altogether")
        if self.data.leaked:
            self.progress.say(f"{self.data.leaked} training rows are also held out: their loss and answers say nothing about new rows")
        if not self.predict.head.plain:
            self.progress.say(f"full logits are computed for every token ({self.predict.head.reason}): more time and memory per step")
        for code, count in sorted(self.masker.counts.items()):
            self.progress.say(f"{count} rows: {code} ({CODES[code]})")

    def denominator(self, step: int, batches: Sequence[MicroBatch]) -> Tensor | None:
        """What the sum of losses of the step is divided by; None if nothing in it counts and such batches are to be passed over.

        Raises TrainingError, naming step and rows, if they are not to be, or if nothing counts in a whole epoch.
        """
        if not (self.skip_empty_batches and trains_nothing(batches, self.ranks)):
            return global_denominator(batches, self.normalizer.name, step, self.ranks)
        self.batches_skipped += 1
        self._skipped_in_a_row += 1
        rows, before = sources_of(batches, self.ranks), self._rows_skipped_in_a_row
        self._rows_skipped_in_a_row += row_count(batches, self.ranks)
        if before > self.order.patience():
            raise TrainingError(
                f"step {step}: nothing was trained in {self._skipped_in_a_row} batches, a whole epoch. Rows of the last: {rows}"
            )
        self.metrics.write("skipped", step, rows=rows)
        return None

    def measure_kinds(self, step: int, batch: MicroBatch) -> None:
        """Every few steps: the loss of each kind of token, trained or not, in one training batch."""
        if _due(step, self.every.kinds):
            self.metrics.write("kinds", step, kinds=kind_losses(self.predict, batch, self.ranks))

    def report(self, step: int, loss: float, norm: float, learning_rate: float, batches: Sequence[MicroBatch], seconds: float) -> None:
        """Write down and show what a step did; a loss that jumps, with the rows that it comes from."""
        own = (sum(counts) for counts in zip(*((batch.token_count, len(batch.entries), len(batch.rows)) for batch in batches), strict=True))
        tokens, trained, rows = map(int, self.ranks.totals(*own))
        self.losses.append(loss)
        self.rows_seen += rows
        self.tokens_seen += tokens
        self.tokens_trained += trained
        self._skipped_in_a_row = self._rows_skipped_in_a_row = 0
        values = {"loss": loss, "grad_norm": norm, "learning_rate": learning_rate, "tokens": tokens, "trained_tokens": trained}
        self.metrics.write("train", step, **values, seconds=round(seconds, 4), tokens_per_second=round(tokens / seconds, 1))
        self.progress.step(StepReport(step, loss, trained / tokens, tokens / seconds))
        usual = usual_loss(self.losses)
        if usual is not None:
            names = sources_of(batches, self.ranks)
            self.metrics.write("spike", step, loss=loss, usual=usual, rows=names)
            self.progress.say(f"step {step}: the loss is {loss:.4f}, usual is {usual:.4f}. Rows of this step: {names}")

    def after(self, step: int) -> None:
        """What is due after the update: evaluation (always after the last step), a checkpoint. Raises TrainingStopped if asked to stop."""
        if _due(step, self.every.evaluation) or step == self.steps:
            self.evaluate(step)
        if self.best.exhausted:
            self.progress.say(f"step {step}: no lower held-out loss for {self.best.since} evaluations, since step {self.best.step}")
        # a run that was resumed has older checkpoints: without one of its end, going on later would begin before it
        due = _due(step, self.every.save) or (self.finished and (self.every.save > 0 or "resumed" in self.record))
        received = self._asked_to_stop()
        if due or received:
            folder = self.save_checkpoint()
            if received:
                raise TrainingStopped(received, step, folder, self.folder.config, self.ranks.size)

    def _asked_to_stop(self) -> Signals | None:
        """The signal that this process, or another of the run, has received."""
        received = self.ranks.totals(*(float(self.stop.signal is each) for each in SIGNALS))
        return next((each for each, count in zip(SIGNALS, received, strict=True) if count), None)

    def save_checkpoint(self) -> Path:
        """Save all that is needed to go on from here. Raises TrainingError where it cannot be written."""
        folder = self.folder.checkpoints.save(self.step, lambda folder: write_state(self, folder), first=self.ranks.first)
        self.ranks.barrier()
        if self.tracking:
            self.tracking.checkpoint_saved(self.step, folder)
        return folder

    def save_model(self, folder: Path) -> None:
        """Save the model as transformers (or, adapters, peft) loads it. Raises TrainingError where it cannot be written."""
        model, tensors = saved_form(self.model, self.sharding, merge=self.merge_adapters)
        if not self.ranks.first:
            return
        try:
            save_model(model, self.tokenizer, folder, tensors)
        except (OSError, SafetensorError) as error:
            last = "go on with --resume" if self.folder.checkpoints.folders() else "no checkpoint was saved (training.save_steps)"
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise TrainingError(f"the trained model cannot be written to {folder}: {reason}; make room, then {last}") from error

    def evaluate(self, step: int) -> Evaluation | None:
        """Measure the held-out rows; None where there are none."""
        if not self.data.held_out:
            return None
        found = self.ranks.decided(evaluate(self.predict, self.masker, self.batcher, self.data.held_out, self.ranks))
        self.last_evaluation = found
        if step == 0:
            self.first_evaluation = found
        self.metrics.write("eval", step, **asdict(found), stop_accuracy=found.stop_accuracy)
        self.progress.say(f"step {step}: {_told(found)}")
        if self.best.update(found, step) and self.best.metric and step:
            self.save_model(self.folder.best)
        return found

    def answer(self) -> list[Answer]:
        """The model's greedy replies to the held-out prompts, written to samples.jsonl."""
        self.progress.say(f"answering {len(self.questions)} held-out prompts")
        answers = greedy_answers(
            self.predict,
            self.tokenizer,
            self.questions,
            self.stops,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batcher.size,
            sharding=self.sharding,
        )
        if self.ranks.first:
            write_lines(self.folder.samples, (answer.row() for answer in answers))
        self.metrics.write("answers", self.step, accuracy=accuracy(answers), count=len(answers))
        return answers

    def draw(self) -> None:
        """Draw the loss curves of what was measured so far, and write the page about the run."""
        if not self.ranks.first:
            return
        write_text(self.folder.curves, loss_curves(read_metrics(self.folder.metrics), self.data.trained_kinds()))
        write_text(self.folder.report, report_page(self.folder.path))


def _told(found: Evaluation) -> str:
    kinds = "  ".join(f"{kind} {loss:.3f}" for kind, loss in found.kinds.items())
    stops = "" if found.stop_accuracy is None else f", stop tokens {found.stop_accuracy:.1%}"
    return f"held-out loss {found.loss:.4f}  perplexity {found.perplexity:.4g}  token accuracy {found.accuracy:.1%}{stops}  ({kinds})"


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
