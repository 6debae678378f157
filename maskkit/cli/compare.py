"""``maskkit compare``: the same run under several strategies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskkit.cli.options import Config, Overrides
from maskkit.cli.output import Json, print_columns, print_json, writable, write_page
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from maskkit.inspect.compare import Comparison


def compare(
    config: Config,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the runs and the page go.")],
    strategies: Annotated[str | None, typer.Option("--strategies", metavar="A,B,C", help="Names of strategies.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", metavar="S", help="One more, as a config writes it. May be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each, counted up from the config's seed.")] = 1,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train under each strategy with the same rows, order and seeds, and write a page that shows what the mask does to behaviour.

    Runs that are there already, under the same config, are not run again.
    """
    from maskkit.config import RunConfig
    from maskkit.config.loading import parsed_yaml

    chosen = [name.strip() for name in (strategies or "").split(",") if name.strip()]
    chosen += [parsed_yaml(text, f"--strategy {text}") for text in strategy or ()]
    if len(chosen) < 2:
        raise ConfigError("a comparison needs at least two strategies: --strategies assistant-only,causal, or --strategy for each")
    loaded = RunConfig.load(config, overrides or ())
    from maskkit.inspect.compare import compare as run
    from maskkit.inspect.page.compare import compare_page

    say = (lambda message: None) if as_json else (lambda message: print(message, flush=True))
    with writable("--output", output):
        comparison = run(loaded, chosen, output, seeds=seeds, progress=not as_json, say=say)
    page = output / "comparison.html"
    write_page("--output", page, compare_page(comparison, loaded.to_yaml()))
    if as_json:
        print_json(comparison.to_json())
    else:
        _print(comparison, page)


def _print(comparison: Comparison, page: Path) -> None:
    from maskkit.inspect.compare.comparison import COSTS

    rows = [("measure", *(side.label for side in comparison.sides), "")]
    for measure in [*comparison.measures(), *COSTS]:
        cells = []
        for side in comparison.sides:
            spread = side.spread(measure.of)
            deviation = f" ± {measure.text(spread.deviation)}" if spread and spread.deviation is not None else ""
            cells.append(measure.text(spread.mean if spread else None) + deviation)
        rows.append((measure.name, *cells, ""))
    print()
    print_columns(rows)
    print(f"\nthe page: {page}")
