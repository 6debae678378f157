"""``maskkit check parity``: is the update of a run the same however its batch is split?"""

from __future__ import annotations

import typer

from maskkit.cli.options import Config, Overrides
from maskkit.cli.output import Json, print_columns, print_json


def parity(
    config: Config,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare the gradients of one step, on a small float64 copy of the config's own model: one batch against several splits of it.

    Exit status 1 if they differ by more than rounding.
    """
    from maskkit.config import RunConfig
    from maskkit.engine import parity as engine

    found = engine.parity(RunConfig.load(config, overrides or ()))
    if as_json:
        print_json(engine.summary(found))
    else:
        print(f"{found.model}, small, float64, {found.trained}: {found.rows} rows, {found.trained_tokens} trained tokens, as one batch and")
        print_columns(((name, _told(difference, found.tolerance)) for name, difference in found.differences.items()), indent="  ")
        print(f"largest gradient {found.largest_gradient:.2e}; {'exact' if found.exact else 'NOT exact'} (at most {found.tolerance:.0e})")
        if found.left_out:
            print(f"not looked at: {', '.join(f'{key} ({instead})' for key, instead in found.left_out.items())}")
    if not found.exact:
        raise typer.Exit(1)


def _told(difference: float, tolerance: float) -> str:
    return f"{difference:.1e}" + ("" if difference <= tolerance else "   differs")
