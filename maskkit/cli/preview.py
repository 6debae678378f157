"""``maskkit preview``: rows in colour, by kind and by weight."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli.output import Json, print_json
from maskkit.cli.train import Overrides
from maskkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from maskkit.inspect.preview import Preview
    from maskkit.records import Record


@dataclass(frozen=True)
class _Request:
    """What to show: a config's model, strategy and data, with the command's own in their place where given."""

    model: str
    strategies: list[Any]
    data: list[str]
    inline_reasoning: bool
    max_length: int | None
    template_kwargs: dict[str, Any]
    trust_remote_code: bool = False
    truncation: str = "right"
    history: str = "as-rendered"
    control_tokens: str = "escape"
    reasoning_tags: Sequence[Sequence[str]] = ()


def preview(
    source: Annotated[str, typer.Argument(metavar="CONFIG|DATA", help="A config (.yaml, .toml, `quickstart`) or a file of rows.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="M", help="Model whose tokenizer is used; needed with DATA.")
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", metavar="S", help="A strategy, as a config writes it. May be repeated.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show the first N rows (default 1).")] = None,
    row: Annotated[int | None, typer.Option(min=0, metavar="K", help="Show row K, counted from 0.")] = None,
    weights: Annotated[
        bool | None, typer.Option("--weights/--no-weights", help="List runs of tokens with weights in figures (default: without colour).")
    ] = None,
    inline: Annotated[bool, typer.Option("--inline-reasoning", help="Write reasoning into the content, as data.reasoning does.")] = False,
    history: Annotated[
        str | None, typer.Option("--history", metavar="H", help="as-rendered, or as-served: each reply behind the prompt it was served.")
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show rows with the kind of every token and how much its loss counts.

    A token that counts stands on a coloured ground, the stronger the more it counts; one that does not is dim.
    """
    if rows is not None and row is not None:
        raise ConfigError("--rows and --row exclude each other: give one of them")
    request = _of_config(source, overrides) if is_config(source) else _of_data(source, model, overrides)
    shown = _preview(_changed(request, model, strategy, inline, history), row, rows)
    if as_json:
        print_json(shown.to_json())
    else:
        _print(shown, weights)


def is_config(source: str) -> bool:
    """Does a command's argument name a config, rather than data?"""
    from maskkit.config.loading import BUNDLED, ENDINGS

    return source == BUNDLED or source.lower().endswith(ENDINGS)


def _of_config(source: str, overrides: list[str] | None) -> _Request:
    from maskkit.config import RunConfig

    config = RunConfig.load(source, overrides or ())
    return _Request(
        config.model,
        [config.strategy],
        [file.path for file in config.data.sources],
        config.data.reasoning == "inline",
        config.max_length,
        config.chat_template_kwargs,
        config.trust_remote_code,
        config.truncation,
        config.history,
        config.control_tokens,
        config.reasoning_tags,
    )


def _of_data(source: str, model: str | None, overrides: list[str] | None) -> _Request:
    if model is None:
        raise ConfigError(f"{source} is data, so it does not say which tokenizer and template to use: add --model (or give a config)")
    if overrides:
        raise ConfigError(f"--set changes a config, but {source} is data")
    return _Request(model, ["assistant-only"], [source], False, None, {})


def _changed(request: _Request, model: str | None, strategy: list[str] | None, inline: bool, history: str | None) -> _Request:
    from dataclasses import replace

    from maskkit.config.loading import parsed_yaml

    return replace(
        request,
        model=model or request.model,
        strategies=[parsed_yaml(text, f"--strategy {text}") for text in strategy or ()] or request.strategies,
        inline_reasoning=inline or request.inline_reasoning,
        history=history or request.history,
    )


def _preview(request: _Request, row: int | None, rows: int | None) -> Preview:
    chosen = list(_chosen(request, row, rows))  # before anything slow: a bad row or file is told at once
    from maskkit.inspect.preview import preview as preview_of
    from maskkit.inspect.stops import generation_stop_ids
    from maskkit.models import load_tokenizer
    from maskkit.plugins import load_strategy

    strategies = [load_strategy(spec) for spec in request.strategies]
    with _findings_beside_their_row():
        return preview_of(
            chosen,
            load_tokenizer(request.model, trust_remote_code=request.trust_remote_code),
            strategies=strategies,
            stop_token_ids=generation_stop_ids(request.model, trust_remote_code=request.trust_remote_code),
            max_length=request.max_length,
            truncation=request.truncation,
            history=request.history,
            control_tokens=request.control_tokens,
            reasoning_tags=request.reasoning_tags,
            template_kwargs=request.template_kwargs,
            tokenizer_name=request.model,
        )


@contextmanager
def _findings_beside_their_row() -> Iterator[None]:
    """Findings are shown with the row, so they are not logged as well."""
    logger = logging.getLogger("maskkit.masker")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _chosen(request: _Request, row: int | None, rows: int | None) -> Iterator[Record]:
    from maskkit.records import records_of, with_inline_reasoning

    records = (record for path in request.data for record in records_of(path))
    found = list(islice(records, row, row + 1) if row is not None else islice(records, rows or 1))
    if not found:
        where = ", ".join(request.data)
        raise DataError(f"{where}: there is no row {row}; rows are counted from 0" if row is not None else f"{where}: no row is in it")
    return map(with_inline_reasoning, found) if request.inline_reasoning else iter(found)


def _print(shown: Preview, weights: bool | None) -> None:
    from rich.console import Console

    from maskkit.inspect.terminal import draw

    console = Console(highlight=False)
    colored = console.color_system is not None and not console.no_color
    listed = not colored if weights is None else weights
    for line in draw(shown, weights=listed, width=console.width if console.is_terminal else None):
        console.print(line, soft_wrap=True)
