"""``maskkit check renderers``: what does a second, independent method say of the tokens and whose they are?"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli.output import Json, print_columns, print_json
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskkit.integrations.renderers import Comparison, Difference, RowComparison
    from maskkit.records import Record

_SHOWN = 2
"""Examples of each reason."""
_LENGTH = 50
"""Longest excerpt, in characters."""


def renderers(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model whose tokenizer and chat template are compared.")],
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="A file of conversations; small ones of every sort if left out.")
    ] = None,
    renderer: Annotated[
        str | None,
        typer.Option("--renderer", metavar="R", help="A renderer by name, or {name: R, option: value}; by default that of the hub name."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many rows of DATA are compared.")] = 100,
    as_json: Json = False,
) -> None:
    """Compare tokens and their labels with those of the package `renderers`, which knows families of models without their template.

    Where the two differ, transformers decides. Exit status 1 if a difference has no known reason, or nothing could be compared.
    """
    from maskkit.config.loading import parsed_yaml

    wanted = parsed_yaml(renderer, f"--renderer {renderer}") if renderer is not None else None
    from datetime import datetime

    from maskkit.inspect.stops import generation_stop_ids
    from maskkit.integrations.renderers import compare
    from maskkit.models import load_tokenizer

    records = [*_records(data, rows)]
    # The day stands still without data, as for other checks of a template: the conversations do, too.
    date = datetime(2026, 1, 1) if data is None else None
    found = compare(load_tokenizer(model), records, wanted, date=date, stop_token_ids=generation_stop_ids(model))
    if as_json:
        print_json({"model": model, "data": data, **found.to_json()})
    else:
        print(f"tokenizer and template {model}, renderer {found.renderer}\n")
        _print(found)
    if not found.agrees:
        raise typer.Exit(1)


def _records(data: str | None, rows: int) -> list[Record]:
    from itertools import islice

    from maskkit.inspect.template_matrix import MATRIX
    from maskkit.records import read_rows, readable, to_record

    if data is None:
        return [to_record(row, source=name) for name, row in MATRIX.items()]
    found = [*map(readable, islice(read_rows(data), rows))]
    if not found:
        raise ConfigError(f"{data}: no row is in it")
    return found


def _print(found: Comparison) -> None:
    print_columns((row.source, *_told(row)) for row in found.rows)
    from maskkit.integrations.renderers import ASPECTS, REASONS

    by_reason = sorted(((d.reason, row.source, d) for row in found.rows for d in row.differences), key=lambda each: each[0])
    for reason, group in groupby(by_reason, key=lambda each: each[0]):
        each = [*group]
        tokens = sum(difference.size for _, _, difference in each)
        print(f"\n{reason}: {_counted(tokens, 'token')}, {_right(d for _, _, d in each)}")
        print_columns([(REASONS[reason],)], indent="  ")
        shown = each if reason == "unexplained" else each[:_SHOWN]
        print_columns(((source, f"token {d.start}", *_said(d)) for _, source, d in shown), indent="    ")
        if len(each) > len(shown):
            rest = Counter(source for _, source, _ in each[len(shown) :])
            print(f"    and {len(each) - len(shown)} more in {_counted(len(rest), 'conversation')}")
    compared = found.compared
    agreed, total = sum(row.agreed for row in compared), _counted(sum(row.tokens for row in compared), "token")
    unexplained = sum(len(row.unexplained) for row in found.rows)
    print(f"\n{agreed:,} of {total} of {_counted(len(compared), 'conversation')} are the same to both in all {len(ASPECTS)} respects;")
    fine = "every difference has a reason" if by_reason else "there is no difference"
    print(fine if found.agrees else _what_is_wrong(found, unexplained))


def _what_is_wrong(found: Comparison, unexplained: int) -> str:
    other = [row.source for row in found.rows if not row.is_transformers]
    malformed = [row.source for row in found.rows if row.outcome == "malformed"]
    said = [f"{_counted(unexplained, 'difference')} without a reason"] if unexplained else []
    said += [f"tokens that are not transformers' in {', '.join(other[:3])}: please report this template"] if other else []
    said += [f"labels that do not fit their tokens in {', '.join(malformed[:3])}"] if malformed else []
    return "; ".join(said or ["nothing could be compared"])


def _told(row: RowComparison) -> tuple[str, str]:
    if row.outcome != "compared":
        return "", f"{row.outcome.replace('-', ' ')}: {row.why.removeprefix(f'{row.source}: ')}"
    counts: Counter[str] = Counter()
    for difference in row.differences:
        counts[difference.reason] += difference.size
    said = [f"{reason} {count}" for reason, count in counts.items()] or ["the same"]
    said += [f"renderer does not say: {', '.join(row.without)}"] if row.without else []
    return _counted(row.tokens, "token"), ", ".join(said)


def _right(differences: Iterator[Difference]) -> str:
    sides = {difference.right for difference in differences}
    said = {"both": "a matter of convention", "neither": "transformers agrees with neither", "maskkit": "transformers agrees with maskkit"}
    return ", ".join(said.get(side, f"transformers agrees with {side}") for side in sorted(sides))


def _said(difference: Difference) -> tuple[str, str]:
    if difference.aspect == "ids":
        return repr(_short(difference.ours)), f"renderer: {_short(difference.theirs)!r}"
    ours, theirs = _word(difference.ours), _word(difference.theirs)
    return repr(_short(difference.text)), f"{difference.aspect}: maskkit {ours}, renderer {theirs}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"message {value}" if value >= 0 else "no message"


def _short(text: str) -> str:
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
