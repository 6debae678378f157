"""`train`: from a config to a trained model in a run folder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maskkit.engine.answers import accuracy
from maskkit.engine.loop import training_loop
from maskkit.engine.progress import Progress
from maskkit.engine.result import TrainResult
from maskkit.engine.run_folder import save_model

if TYPE_CHECKING:
    from maskkit.config import RunConfig
    from maskkit.engine.run import Run

SAMPLES = 3
"""How many replies the result shows."""


def train(config: RunConfig, *, progress: bool = True) -> TrainResult:
    """Run ``config`` from data to saved model. ``progress``: show a bar, or lines where there is no terminal.

    Writes into ``config.output_dir``: config.yaml, metrics.jsonl, curves.svg, samples.jsonl and model/, which transformers loads. A run
    that fails leaves what it measured, with a last event ``failed``, and no model/.

    Raises ConfigError, DataError, TemplateError, StrategyError before training where they apply; TrainingError where the run cannot go on.
    """
    from maskkit.engine.setup import prepare

    started = time.perf_counter()
    with Progress(config.training.max_steps, show=progress) as shown:
        run = prepare(config, shown)
        with run.metrics:
            try:
                return _train(run, started)
            except BaseException as error:
                run.metrics.write("failed", len(run.losses), error=f"{type(error).__name__}: {error}")
                raise
            finally:
                run.draw()


def _train(run: Run, started: float) -> TrainResult:
    run.announce()
    before = run.evaluate(0)
    run.progress.begin()
    training_loop(run)
    answers = run.answer() if run.questions else []
    save_model(run.model, run.tokenizer, run.folder.model)
    result = TrainResult(
        steps=run.steps,
        first_loss=run.losses[0],
        last_loss=run.losses[-1],
        eval_before=before,
        eval_after=run.last_evaluation,
        accuracy=accuracy(answers),
        answers=sum(answer.correct is not None for answer in answers),
        samples=tuple(answers[:SAMPLES]),
        train_rows=len(run.data.train),
        eval_rows=len(run.data.held_out),
        trained_share=run.tokens_trained / run.tokens_seen,
        findings=dict(run.masker.counts),
        seconds=time.perf_counter() - started,
        output_dir=run.folder.path,
        model_dir=run.folder.model,
        metrics_path=run.folder.metrics,
        curves_path=run.folder.curves,
        samples_path=run.folder.samples,
    )
    run.metrics.write("end", run.steps, first_loss=result.first_loss, last_loss=result.last_loss, accuracy=result.accuracy)
    return result
