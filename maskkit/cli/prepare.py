"""``maskkit prepare``: encode and weigh a data set once, for any trainer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli.options import History, Inline, MaxLength, Model, Overrides, Source, Strategies
from maskkit.cli.output import Json, print_columns, print_json, writable
from maskkit.cli.request import Request, choices, one_of, requested
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from maskkit.prepare import Prepared, Settings


def prepare(
    source: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go; an unfinished one is gone on with.")
    ],
    model: Model = None,
    strategy: Strategies = None,
    max_length: MaxLength = None,
    truncation: Annotated[
        str | None, typer.Option(metavar="HOW", help="right, left, turns, drop or error: what becomes of longer rows.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="A column labels too (-100); refused unless all weights are 0 or 1.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Store weights as runs of equal ones: smaller files.")] = False,
    reference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A model whose log-probability of every token becomes a column.")
    ] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Ask the reference model in bfloat16.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes (default: one per core; 1 with a reference).")] = None,
    rows_per_file: Annotated[int, typer.Option(min=1, metavar="N", help="Rows of the data that make one file.")] = 1000,
    inline: Inline = False,
    history: History = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run has written there.")] = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Encode and weigh every row into Parquet files that any trainer reads, with a manifest of how they were made.

    data.train: FOLDER trains on them; datasets.load_dataset("parquet", data_files="FOLDER/data/*.parquet") gives input_ids, loss_weights,
    kinds and more. Cut off at any moment, the same command goes on where it was.
    """
    request = requested(source, model, strategy, overrides, inline=inline, history=history)
    if len(request.strategies) > 1:
        raise ConfigError(
            "--strategy is given more than once: a data set is prepared under one strategy ({product: [...]} combines several)"
        )
    if truncation is not None:
        one_of("--truncation", truncation, choices("truncation"))
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output {str(output)!r} is a file, expected a folder: choose another place")
    settings = _settings(request, max_length, truncation, labels=labels, runs=runs, reference=reference, bf16=bf16)
    done = _prepare(request, output, settings, workers or (1 if reference else os.cpu_count() or 1), rows_per_file, overwrite, as_json)
    if as_json:
        print_json(json.loads((output / "manifest.json").read_text(encoding="utf-8")))
    else:
        _print(done)


def _settings(request: Request, max_length: int | None, truncation: str | None, *, runs: bool, **columns: Any) -> Settings:
    from maskkit.inspect.stops import generation_stop_ids
    from maskkit.prepare import Settings

    return Settings(
        model=request.model,
        strategy=request.strategies[0],
        max_length=max_length or request.max_length,
        truncation=truncation or request.truncation,
        history=request.history,
        control_tokens=request.control_tokens,
        reasoning_tags=request.reasoning_tags,
        template_kwargs=request.template_kwargs,
        stop_token_ids=tuple(generation_stop_ids(request.model, trust_remote_code=request.trust_remote_code)),
        inline_reasoning=request.inline_reasoning,
        trust_remote_code=request.trust_remote_code,
        weights="runs" if runs else "lists",
        **columns,
    )


def _prepare(request: Request, output: Path, settings: Settings, workers: int, size: int, overwrite: bool, quiet: bool) -> Prepared:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from maskkit.prepare import prepare as run

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("prepare", total=None)
        with writable("--output", output), _removed_if_useless(output):
            return run(
                request.data,
                output,
                settings,
                workers=workers,
                rows_per_file=size,
                overwrite=overwrite,
                progress=lambda rows: bar.advance(task, rows),
            )


@contextlib.contextmanager
def _removed_if_useless(folder: Path) -> Iterator[None]:
    """A context that fills a folder. Where it makes one and fails before a file of rows is whole, there is nothing to go on with."""
    was_there = folder.exists()
    try:
        yield
    except BaseException:
        if not was_there and not any(folder.rglob("*.parquet")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _print(done: Prepared) -> None:
    from maskkit.findings import CODES

    totals = done.totals
    reused = f" ({done.reused} were there already)" if done.reused else ""
    print(f"{totals.rows:,} rows -> {totals.examples:,} examples in {done.files:,} files{reused}: {done.folder}\n")
    head = ("kind", "tokens", "trained", "sum of weights")
    kinds = [(kind, f"{n:,.0f}", f"{trained / n:.0%}", f"{weight:,.6g}") for kind, (n, trained, weight) in totals.kinds.items()]
    every = ("all", f"{totals.tokens:,}", f"{totals.trained / max(totals.tokens, 1):.0%}", f"{totals.weight:,.6g}")
    print_columns([head, *kinds, every])
    if totals.findings:
        print()
        print_columns([(f"{count:,} rows", code, CODES[code]) for code, count in totals.findings.items()])
