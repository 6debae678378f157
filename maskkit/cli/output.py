"""What commands print: JSON, lines and columns, with nothing in them that a terminal would obey; and the files that they write."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from maskkit.errors import ConfigError
from maskkit.pages.visible import visible

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The option ``--json``."""

_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def print_json(value: Any) -> None:
    """Print JSON; letters stay readable, and what a terminal would obey is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    print(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def error_line(message: str) -> None:
    """Print an error: one line on stderr."""
    print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr)


def system_error(error: OSError) -> str:
    """What the system refused, and of which file; what names none is the command's own output."""
    cure = {errno.ENOSPC: ": make room", errno.EDQUOT: ": make room"}.get(error.errno or 0, "")
    return f"{error.filename or 'the output'}: {error.strerror or error}{cure}"


@contextlib.contextmanager
def writable(option: str, path: Path) -> Iterator[None]:
    """A context in which what an option names is written. Raises ConfigError, naming option and reason, where the system refuses it."""
    try:
        yield
    except OSError as error:
        about = Path(error.filename) if isinstance(error.filename, str) else path
        if path != about and path not in about.parents and about not in path.parents:  # something else could not be read
            raise
        raise ConfigError(f"{option} {str(path)!r} cannot be written: {error.strerror or error}; choose another place") from error


def write_page(option: str, path: Path, text: str) -> None:
    """Write a page whole or not at all. Raises ConfigError as `writable` does."""
    from maskkit.engine.durable import write_text

    with writable(option, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe, or what is refused
            path.write_text(text, encoding="utf-8")
        else:
            write_text(path, text)


def print_columns(rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Print rows of texts in columns; the last column is wrapped to the terminal's width."""
    table = [[visible(cell) for cell in row] for row in rows]
    if not table:
        return
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    for row in table:
        head = indent + "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        room = max(shutil.get_terminal_size((100, 24)).columns - len(head), 20)
        lines = textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]
        print(f"{head}{lines[0]}".rstrip())
        for line in lines[1:]:
            print(" " * len(head) + line)
