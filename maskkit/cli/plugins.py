"""``maskkit plugins``: what was found, and what became of it."""

from __future__ import annotations

from maskkit.cli.output import Json, print_columns, print_json


def plugins(as_json: Json = False) -> None:
    """List the plugins that were found, with their strategies or the reason why one is not used."""
    from dataclasses import asdict

    from maskkit.plugins import plugin_rows

    rows = plugin_rows()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_columns(
        (row.name, f"{row.origin} {row.version}", ", ".join(row.strategies) if row.status == "ok" else row.status) for row in rows
    )
