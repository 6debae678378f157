"""``maskkit lint``: what is wrong with data and masks, in the terminal or for machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli.options import History, Inline, MaxLength, Model, Overrides
from maskkit.cli.output import Json, print_json
from maskkit.cli.request import Request, is_config, one_of, requested
from maskkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from maskkit.checks import LintReport

FORMATS = ("rows", "labels")
"""What a file holds: rows of data, or the ids and labels that a trainer made of them."""

OUTPUTS = ("text", "json", "sarif", "github")


@dataclass(frozen=True)
class _Rules:
    """What is left out, what counts as an error, and how much is looked at."""

    ignore: list[str]
    error: list[str]
    sample: int | None
    first: int
    held_out: str | None = None
    """The config's file of held-out rows; a share of the training rows is never both."""


def lint(
    source: Annotated[
        str | None, typer.Argument(metavar="CONFIG|DATA", help="A config, or a file, folder or pattern of rows, or of ids and labels.")
    ] = None,
    model: Model = None,
    strategy: Annotated[str | None, typer.Option("--strategy", "-s", metavar="S", help="A strategy, as a config writes it.")] = None,
    rows: Annotated[
        str, typer.Option("--format", metavar="F", help="What DATA holds: rows, or labels (input_ids with labels or loss_weights).")
    ] = "rows",
    explain: Annotated[str | None, typer.Option(metavar="CODE", help="Explain a code, such as MK102, or all, and exit.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CODE", help="Leave a code out. May be repeated.")] = None,
    error: Annotated[list[str] | None, typer.Option(metavar="CODE", help="Make a code an error. May be repeated.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Look at N rows, evenly spread (default: all).")] = None,
    first: Annotated[int, typer.Option(min=1, metavar="N", help="Name the first N rows of each finding.")] = 3,
    max_length: MaxLength = None,
    output: Annotated[str, typer.Option(metavar="O", help="text, json, sarif or github (annotations of a workflow).")] = "text",
    inline: Inline = False,
    history: History = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with data and mask. Exit status 1 where a finding is an error.

    Of rows, what the strategy would train of them is looked at; of ids and labels, what their trainer really trains.
    """
    if explain is not None:
        _explain(explain)
        return
    if source is None:
        raise ConfigError("lint needs a config, a file of rows, or one of ids and labels; --explain CODE needs none")
    one_of("--format", rows, FORMATS)
    one_of("--output", output, OUTPUTS)
    request = requested(source, model, [strategy] if strategy else None, overrides, inline=inline, history=history)
    rules = _rules(source, overrides, ignore, error, sample, first)
    report, about = _report(request, rows, max_length, rules)
    _print(report, about, "json" if as_json else output)
    if report.errors:
        raise typer.Exit(1)


def _rules(
    source: str, overrides: list[str] | None, ignore: list[str] | None, error: list[str] | None, sample: int | None, first: int
) -> _Rules:
    """The command's, beside the config's own."""
    from maskkit.findings import code_of

    for name in [*(ignore or ()), *(error or ())]:
        code_of(name)  # before anything slow
    if not is_config(source):
        return _Rules(ignore or [], error or [], sample, first)
    from maskkit.config import RunConfig

    config = RunConfig.load(source, overrides or ())
    held_out = config.data.eval if isinstance(config.data.eval, str) else None
    return _Rules([*config.lint.ignore, *(ignore or ())], [*config.lint.error, *(error or ())], sample, first, held_out)


def _report(request: Request, rows: str, max_length: int | None, rules: _Rules) -> tuple[LintReport, dict[str, Any]]:
    given = list(_given(request, rows))  # before anything slow: a bad row or file is told at once
    if not given:
        raise DataError(f"{', '.join(request.data)}: no row is in it")
    from maskkit.inspect.lint import lint as lint_of
    from maskkit.inspect.preview import template_name
    from maskkit.inspect.selections import named

    options = request.options()
    name, strategies = options.pop("tokenizer_name"), options.pop("strategies")
    options["max_length"] = max_length or options["max_length"]
    tokenizer = options.pop("tokenizer")
    if rows == "labels":
        _recognise(request, tokenizer)
    report = lint_of(
        given,
        tokenizer,
        strategy=strategies[0],
        held_out=rules.held_out or (),
        sample=rules.sample,
        ignore=rules.ignore,
        error=rules.error,
        first=rules.first,
        **options,
    )
    about = {"tokenizer": name, "template": template_name(tokenizer)}
    return report, about if rows == "labels" else {**about, "strategy": named(request.strategies[0])}


def _recognise(request: Request, tokenizer: Any) -> None:
    """Raises TokenizerError for ids of a prepared folder that were made with another tokenizer."""
    from maskkit.masker.fingerprints import Recognition
    from maskkit.records import data_files
    from maskkit.records.prepared import made_with

    recognise = Recognition(tokenizer)
    for file in (file for path in request.data for file in data_files(path)):
        recognise(made_with(Path(file)))


def _given(request: Request, rows: str) -> Iterable[Any]:
    if rows == "labels":
        from maskkit.inspect.lint.files import label_rows

        return (row for path in request.data for row in label_rows(path))
    from maskkit.records import Record, read_rows, with_inline_reasoning

    every = (row for path in request.data for row in read_rows(path))
    return (with_inline_reasoning(row) if isinstance(row, Record) and request.inline_reasoning else row for row in every)


def _print(report: LintReport, about: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json({**about, **report.to_json()})
    elif output == "sarif":
        from maskkit.inspect.lint.formats import sarif

        print_json(sarif(report))
    elif output == "github":
        from maskkit.inspect.lint.formats import github

        for line in github(report):
            print(line)
    else:
        _draw(report, about)


def _draw(report: LintReport, about: dict[str, Any]) -> None:
    from rich.console import Console

    from maskkit.inspect.lint.show import draw
    from maskkit.pages.visible import visible

    console = Console(highlight=False)
    with contextlib.nullcontext() if console.is_terminal else console.capture() as captured:
        console.print(visible(", ".join(f"{what} {name}" for what, name in about.items())), markup=False)
        console.print()
        for line in draw(report):
            console.print(line)
    for line in captured.get().splitlines() if captured else ():  # rich fills wrapped lines with blanks, which only a terminal swallows
        print(line.rstrip())


def _explain(name: str) -> None:
    from maskkit.findings import REGISTRY, code_of
    from maskkit.inspect.lint.catalogue import explained

    codes = list(REGISTRY.values()) if name == "all" else [code_of(name)]
    print("\n\n".join(map(explained, codes)))
