"""`train`: from a config to a trained model in a run folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from maskkit.engine.answers import accuracy
from maskkit.engine.distributed import joined_ranks
from maskkit.engine.finished import OF_THE_END
from maskkit.engine.loop import training_loop
from maskkit.engine.progress import Progress
from maskkit.engine.result import SAMPLES, TrainResult
from maskkit.errors import ConfigError, TrainingError, TrainingStopped

if TYPE_CHECKING:
    from maskkit.config import RunConfig
    from maskkit.engine.run import Run


def train(config: RunConfig, *, progress: bool = True, resume: bool = False) -> TrainResult:
    """Run ``config`` from data to saved model. ``progress``: show a bar, or lines where there is no terminal.

    Writes into ``config.output_dir``: config.yaml, run.json, metrics.jsonl, curves.svg, report.html, samples.jsonl, checkpoints/ (if asked
    for) and model/, which transformers loads. A run that fails leaves what it measured, with a last event ``failed``, and no model/.

    resume: go on from the newest good checkpoint in ``config.output_dir``. The weights at the end are those of a run that never ended,
    to the last bit on CPU, and so is metrics.jsonl but for times. A run that is over, with no step left to do, is left as it is; what it
    handed back is returned again.

    Started by torchrun, several processes do the run together, each with its part of every global batch; all return the same result.

    SIGINT and SIGTERM let the step end and save a checkpoint, then TrainingStopped is raised (in the main thread only).

    Raises ConfigError, DataError, TemplateError, StrategyError before training where they apply; TrainingError where the run cannot go on
    or cannot be saved; OtherRankEnded where another process of the run has raised what ends it.
    """
    from maskkit.config import RunConfig
    from maskkit.engine.setup import begun, prepare

    if not isinstance(config, RunConfig):
        raise ConfigError(f"train takes a RunConfig, found {type(config).__name__}: read one with RunConfig.load(path)")
    started = time.perf_counter()
    with joined_ranks() as ranks, Progress(config.training.max_steps, show=progress and ranks.first) as shown:
        folder, origin = begun(config, ranks, resume=resume)
        if origin and origin.over:
            more = "max_steps" if origin.over.steps >= config.training.max_steps else "early_stopping_patience"
            shown.say(f"{folder.path} is finished, after {origin.over.steps} steps, and left as it is: to go on, raise training.{more}")
            return replace(origin.over, rank=ranks.rank)
        run = prepare(config, shown, ranks, folder, origin)
        with run.folder, run.metrics, run.feed:
            try:
                result = _train(run, started)
            except BaseException as error:
                ending = ranks.ending(error)
                with contextlib.suppress(OSError, TrainingError):  # a full disk must not hide what went wrong first
                    _note_failure(run, ending)
                if ending is error:
                    raise
                raise ending from error
            run.draw()
            return result


def _note_failure(run: Run, error: BaseException) -> None:
    event = "stopped" if isinstance(error, TrainingStopped) else "failed"
    run.metrics.write(event, run.step, error=f"{type(error).__name__}: {error}")
    run.draw()


def _train(run: Run, started: float) -> TrainResult:
    run.announce()
    if run.step == 0:
        run.evaluate(0)
    run.progress.begin(run.step)
    with run.stop:
        training_loop(run)
    answers = run.answer() if run.questions else []
    run.save_model(run.folder.model)
    result = TrainResult(
        steps=run.step,
        first_loss=run.losses[0],
        last_loss=run.losses[-1],
        eval_before=run.first_evaluation,
        eval_after=run.last_evaluation,
        accuracy=accuracy(answers),
        answers=sum(answer.correct is not None for answer in answers),
        samples=tuple(answers[:SAMPLES]),
        train_rows=run.feed.rows_trained,
        rows_seen=run.rows_seen,
        epochs=run.rows_seen / run.feed.rows_per_epoch if run.feed.rows_per_epoch else None,
        eval_rows=len(run.data.held_out),
        trained_share=run.tokens_trained / run.tokens_seen,
        findings=dict(run.masker.counts),
        seconds=time.perf_counter() - started,
        batches_skipped=run.batches_skipped,
        best_step=run.best.step if run.first_evaluation else None,
        rank=run.ranks.rank,
        **run.folder.places,
    )
    run.metrics.write("end", run.step, **{name: getattr(result, name) for name in OF_THE_END})
    return result
