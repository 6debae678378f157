"""What a template puts out, one chunk after the other, becomes one traced text.

Among the chunks stand marks without text: those of `maskkit.chat.owners` say whose turn begins, and `Source` says that the bare string
behind it is the data at a place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from maskkit.chat.limits import check_characters
from maskkit.chat.owners import NOBODY, Mark, current_owner
from maskkit.chat.traced import DERIVED, EXACT, TEMPLATE, Origin, Run, Source, Traced, make, plain, runs_of


def assemble(chunks: Iterable[str]) -> Traced:
    """Output of a template, or of a macro or block in it, one chunk after the other; their owners are settled by the marks among them."""
    pieces = list(chunks)
    check_characters(sum(map(len, pieces)))
    return assemble_checked(pieces)


def assemble_checked(pieces: list[str]) -> Traced:
    """`assemble` for chunks whose length has been checked."""
    runs: list[Run] = []
    owner = writer = current_owner()
    written = 0  # characters of the template's text at the end that stand in the turn of ``writer``: one run
    place: Origin | None = None
    for piece in pieces:
        kind = type(piece)
        if kind is Mark:
            owner = piece._owner  # type: ignore[attr-defined]
            continue
        if kind is Source:
            place = piece._place  # type: ignore[attr-defined]
            continue
        if place is not None:
            if written:
                runs.append((written, TEMPLATE, -1, DERIVED, writer))
                written = 0
            runs.append((len(piece), place, 0, EXACT, owner))
            place = None
            continue
        for run in piece._runs if kind is Traced else runs_of(piece):  # type: ignore[attr-defined]
            if run[4] == NOBODY:
                if run[1] is TEMPLATE:
                    if written and writer != owner:
                        runs.append((written, TEMPLATE, -1, DERIVED, writer))
                        written = 0
                    writer = owner
                    written += run[0]
                    continue
                if owner != NOBODY:
                    run = (run[0], run[1], run[2], run[3], owner)
            if written:
                runs.append((written, TEMPLATE, -1, DERIVED, writer))
                written = 0
            runs.append(run)
    if written:
        runs.append((written, TEMPLATE, -1, DERIVED, writer))
    return make("".join(pieces), runs)


def owned(value: Any) -> Any:
    """A value that outlives the iteration: what the template wrote of it belongs to the message being rendered.

    Data in it belongs to the turn that will print it: gpt-oss keeps the name of a call, and heads the call's result with it.
    """
    owner = current_owner()
    if not isinstance(value, Traced) or owner == NOBODY:
        return value
    runs = [(*run[:4], owner) if run[1] is TEMPLATE and run[4] == NOBODY else run for run in value._runs]
    return make(plain(value), runs, type(value))
