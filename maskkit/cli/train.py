"""``maskkit train``: run a config."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from maskkit.cli.options import Config, Overrides
from maskkit.cli.output import Json, print_json
from maskkit.pages.visible import visible

if TYPE_CHECKING:
    from maskkit.engine.evaluate import Evaluation
    from maskkit.engine.result import TrainResult


def train(
    config: Config,
    overrides: Overrides = None,
    output_dir: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the run writes; replaces output_dir.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest good checkpoint of the run in output_dir.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model as a config says.

    Ctrl-C (or SIGTERM) lets the step end, saves a checkpoint and says how to go on; the exit status is then 130 (143). A second one ends
    the run at once.
    """
    with _together():
        from maskkit.config import RunConfig

        loaded = RunConfig.load(config, overrides or ())
        if output_dir is not None:
            loaded = loaded.model_copy(update={"output_dir": output_dir})
        from maskkit.engine import train as run

        result = run(loaded, progress=not as_json, resume=resume)
    if result.rank:
        return
    if as_json:
        print_json(summary(result))
    else:
        _print(result)


def _together() -> contextlib.AbstractContextManager[object]:
    """Where torchrun has started several processes: their group, so that one that fails says so and ends all. Only the first one warns."""
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return contextlib.nullcontext()
    if os.environ.get("RANK") != "0":
        for name in ("maskkit", "transformers"):
            logging.getLogger(name).setLevel(logging.ERROR)
    from maskkit.engine.distributed import joined_ranks

    return joined_ranks()


def _stops(before: Evaluation, after: Evaluation) -> str:
    if before.stop_accuracy is None or after.stop_accuracy is None:
        return ""
    return f"   (of stop tokens {before.stop_accuracy:.1%} -> {after.stop_accuracy:.1%})"


def summary(result: TrainResult) -> dict[str, object]:
    """The result in JSON's types."""
    from dataclasses import asdict
    from pathlib import Path

    values = {**asdict(result), "kinds": dict(result.kinds)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def rows_seen(result: TrainResult) -> str:
    """How many rows the steps were made of, and how often that is through all there are."""
    epochs = "" if result.epochs is None else f" ({result.epochs:.2f} epochs of {result.rows_seen / result.epochs:.0f})"
    return f"{result.rows_seen} rows{epochs}"


def _print(result: TrainResult) -> None:
    seen, counted = rows_seen(result), f"{result.trained_share:.0%} of tokens counted"
    print(f"trained {result.steps} steps on {seen} in {result.seconds:.0f} s; {counted}")
    print(f"training loss   {result.first_loss:.4f} -> {result.last_loss:.4f}")
    before, after = result.eval_before, result.eval_after
    if before is not None and after is not None:
        print(f"held-out loss   {before.loss:.4f} -> {after.loss:.4f}   ({result.eval_rows} rows)")
        print(f"perplexity      {before.perplexity:.4g} -> {after.perplexity:.4g}")
        print(f"token accuracy  {before.accuracy:.1%} -> {after.accuracy:.1%}{_stops(before, after)}")
        for kind, loss in after.kinds.items():
            print(f"  {kind:<12}  {before.kinds.get(kind, float('nan')):.4f} -> {loss:.4f}")
    if result.accuracy is not None:
        print(f"exact answers   {result.accuracy:.0%} of {result.answers} held-out questions, answered greedily")
    for sample in result.samples:
        print(f"\n{visible(sample.source)}: {visible(sample.prompt)}")
        print(f"  model:     {visible(sample.completion)}{'' if sample.stopped else '  (did not stop)'}")
        if sample.reference is not None:
            print(f"  reference: {visible(sample.reference)}{'  (equal)' if sample.correct else ''}")
    if result.findings:
        print(
            "\nnoticed in the data (maskkit preview shows where): " + ", ".join(f"{n} rows {code}" for code, n in result.findings.items())
        )
    places = {"report": result.report_path, "model": result.model_dir, "metrics": result.metrics_path, "curves": result.curves_path}
    print()
    for name, path in places.items():
        print(f"{name:<8}  {path}")
