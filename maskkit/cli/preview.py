"""``maskkit preview``: rows in colour, by kind and by weight, in the terminal or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskkit.cli.options import History, Inline, Model, Overrides, Source, Strategies
from maskkit.cli.output import Json, print_json, write_page
from maskkit.cli.request import Request, requested
from maskkit.errors import ConfigError
from maskkit.findings import unlogged

if TYPE_CHECKING:
    from maskkit.inspect.preview import Preview


def preview(
    source: Source,
    model: Model = None,
    strategy: Strategies = None,
    rows: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show the first N rows (default 1).")] = None,
    row: Annotated[int | None, typer.Option(min=0, metavar="K", help="Show row K, counted from 0.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page that needs nothing but a browser.")] = None,
    weights: Annotated[
        bool | None, typer.Option("--weights/--no-weights", help="List runs of tokens with weights in figures (default: without colour).")
    ] = None,
    differences: Annotated[bool, typer.Option("--differences", help="Of several strategies, only where their weights differ.")] = False,
    inline: Inline = False,
    history: History = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show rows with the kind of every token and how much its loss counts.

    A token that counts stands on a coloured ground, the stronger the more it counts; one that does not is dim. Several strategies stand
    side by side.
    """
    if rows is not None and row is not None:
        raise ConfigError("--rows and --row exclude each other: give one of them")
    if html is not None and as_json:
        raise ConfigError("--html and --json exclude each other: give one of them")
    request = requested(source, model, strategy, overrides, inline=inline, history=history)
    if differences and len(request.strategies) < 2:
        raise ConfigError("--differences compares strategies: give --strategy at least twice")
    shown = _preview(request, row, rows)
    if html is not None:
        _write_page(shown, html, differences)
    elif as_json:
        print_json(shown.to_json())
    else:
        _print(shown, weights, differences)


def _preview(request: Request, row: int | None, rows: int | None) -> Preview:
    chosen = request.records(row, rows)  # before anything slow: a bad row or file is told at once
    from maskkit.inspect.preview import preview as preview_of

    options = request.options()
    with unlogged():
        return preview_of(chosen, **options)


def _write_page(shown: Preview, file: Path, differences: bool) -> None:
    from maskkit.inspect.page import preview_page

    write_page("--html", file, preview_page(shown, differences=differences))
    rows = len(shown.examples())
    print(f"wrote {file}: {rows} row{'s' if rows > 1 else ''}")


def _print(shown: Preview, weights: bool | None, differences: bool) -> None:
    from rich.console import Console

    from maskkit.inspect.terminal import draw

    console = Console(highlight=False)
    colored = console.color_system is not None and not console.no_color
    listed = not colored if weights is None else weights
    for line in draw(shown, weights=listed, differences=differences, width=console.width if console.is_terminal else None):
        console.print(line, soft_wrap=True)
