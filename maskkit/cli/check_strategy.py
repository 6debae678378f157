"""``maskkit check strategy``: the conformance checks, on a strategy or loss modifier that is installed or in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from maskkit.cli.output import Json, print_columns, print_json
from maskkit.errors import ConfigError


def strategy(
    selection: Annotated[str, typer.Argument(metavar="STRATEGY", help="A strategy, as a config writes it: a name, or '{name: ..., ...}'.")],
    columns: Annotated[
        str, typer.Option(metavar="{KEY: VALUE}", help="Columns that every row has, for a strategy that reads some, in YAML.")
    ] = "{}",
    scaffolding: Annotated[bool, typer.Option("--scaffolding", help="It means to weigh the template's scaffolding.")] = False,
    whole_row: Annotated[bool, typer.Option("--whole-row", help="It looks at the whole row, so a cut row may weigh differently.")] = False,
    as_json: Json = False,
) -> None:
    """Run the checks that every strategy or loss modifier has to pass (those of maskkit.testing). Exit status 1 if one fails."""
    from maskkit.config.loading import parsed_yaml

    given = parsed_yaml(columns, "--columns")
    if not isinstance(given, dict):
        raise ConfigError(f"--columns is {columns!r}, expected a mapping such as '{{quality: 0.5}}'")
    from maskkit.testing.checks import check_results, speed

    chosen = parsed_yaml(selection, "STRATEGY")
    results = check_results(chosen, columns=given, scaffolding=scaffolding, whole_row=whole_row)
    if as_json:
        print_json(results)
    else:
        print_columns(_told_once(results))
    if any(results.values()):
        raise typer.Exit(1)
    measured = None if as_json else speed(chosen, columns=given)
    if measured is not None:
        print(f"\n{measured[0]:,.0f} µs per 1000 tokens, {measured[1]:.1f} times what assistant-only takes")


def _told_once(results: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each check and what it found; a problem that several stumble over is told by the first of them."""
    first: dict[str, str] = {}
    for check, problem in results.items():
        name = check.replace("_", " ")
        told = first.setdefault(problem, name) if problem else name
        yield name, (problem or "ok") if told == name else f"the same as {told!r}"
