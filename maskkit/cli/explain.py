"""``maskkit explain``: one token, where it came from, what it weighs and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from maskkit.cli.options import History, Inline, Model, Overrides, Source, Strategies
from maskkit.cli.output import Json, print_json
from maskkit.cli.request import Request, requested
from maskkit.errors import ConfigError
from maskkit.findings import unlogged

if TYPE_CHECKING:
    from maskkit.inspect.explain import Explanation


def explain(
    source: Source,
    model: Model = None,
    row: Annotated[int, typer.Option("--row", "-r", min=0, metavar="R", help="The row, counted from 0.")] = 0,
    token: Annotated[
        int | None, typer.Option("--token", "-t", metavar="T", help="The token, counted from 0, or from the end if negative.")
    ] = None,
    find: Annotated[str | None, typer.Option("--find", "-f", metavar="TEXT", help="The first token of a text that the row holds.")] = None,
    strategy: Strategies = None,
    reply: Annotated[int, typer.Option("--reply", metavar="K", help="Under as-served: which reply of the row (default the last).")] = -1,
    scored: Annotated[bool, typer.Option("--score", help="Load the model, and tell how likely it finds the token.")] = False,
    inline: Inline = False,
    history: History = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Explain one token: where it came from, whether the model would emit it, what it weighs and how that comes about.

    The weight is shown as the expression that it is the value of: products, maxima, factors, and of `weighted` the last rule that matches.
    """
    if (token is None) == (find is None):
        raise ConfigError("say which token to explain: --token T (a number) or --find TEXT")
    request = requested(source, model, strategy, overrides, inline=inline, history=history)
    told = _explanation(request, row, token, find, reply, scored)
    if as_json:
        print_json(told.to_json())
    else:
        _print(told)


def _explanation(request: Request, row: int, token: int | None, find: str | None, reply: int, scored: bool) -> Explanation:
    records = request.records(row, None)  # before anything slow: a bad row or file is told at once
    from maskkit.inspect.explain import explain as explain_token
    from maskkit.models import load_model

    options = request.options()
    loaded = load_model(request.model, trust_remote_code=request.trust_remote_code) if scored else None
    with unlogged():
        return explain_token(records, token=token, find=find, reply=reply, model=loaded, **options)


def _print(told: Explanation) -> None:
    from rich.console import Console

    from maskkit.inspect.explain.draw import draw

    console = Console(highlight=False)
    for line in draw(told, width=console.width if console.is_terminal else None):
        console.print(line, soft_wrap=True)
