"""Folders that ``maskkit prepare`` has written, as data to read: the files that their manifest lists, and no others."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskkit.errors import DataError

MANIFEST = "manifest.json"
FORMAT = 2
"""Version of the folder's layout."""

READABLE = (1, FORMAT)
"""Layouts that are read: files of the first say what tokens are, not who wrote them."""

FILES = "data"
"""The folder in it that holds the rows."""


@dataclass(frozen=True, slots=True)
class MadeWith:
    """What the rows of a prepared folder were encoded with."""

    folder: str
    model: str
    """Whose tokenizer it was, by the name that it was loaded by."""
    tokenizer: str
    """Its fingerprint (`maskkit.masker.fingerprints`)."""
    template: str
    """That of its chat template."""


_AGAIN = "run the same  maskkit prepare  again, which makes what is missing and keeps the rest"


def prepared_folder(folder: Path) -> Path | None:
    """The prepared folder that ``folder`` is, or holds the rows of; None where it is another one.

    Raises DataError for a manifest that is not JSON.
    """
    candidates = [folder, folder.parent] if folder.name == FILES else [folder]
    return next((each for each in candidates if _manifest(each) is not None), None)


def prepared_files(folder: Path) -> list[str]:
    """The files of rows of a prepared folder, in the order of the rows that they were made of.

    Raises DataError where preparing it has not come to its end, and where a file that the manifest lists is not there or not whole.
    """
    manifest = _manifest(folder) or {}
    if manifest.get("format") not in READABLE:
        raise DataError(f"{folder} is a prepared data set of format {manifest.get('format')}, expected {FORMAT}: prepare it anew")
    if not manifest["complete"]:
        raise DataError(f"{folder} is a prepared data set that is not complete: {_AGAIN}")
    for listed in manifest["files"]:
        file = folder / listed["file"]
        if not file.is_file():
            raise DataError(f"{folder}: there is no {listed['file']}, which {MANIFEST} lists: {_AGAIN}")
        if file.stat().st_size != listed["bytes"]:
            raise DataError(f"{file} has {file.stat().st_size} bytes, expected {listed['bytes']}, as {MANIFEST} has it: {_AGAIN}")
    return [str(folder / listed["file"]) for listed in manifest["files"]]


def made_with(file: Path) -> MadeWith | None:
    """What a file of rows was made with, where the manifest of its folder says it; None for every other file.

    A manifest that cannot be read says nothing of a file that is named itself.
    """
    if file.suffix.lower() != ".parquet":
        return None
    folders = [file.parent, file.parent.parent] if file.parent.name == FILES else [file.parent]
    manifest = next((folder / MANIFEST for folder in folders if (folder / MANIFEST).is_file()), None)
    if manifest is None:
        return None
    state = manifest.stat()
    made, listed = _described(manifest.parent, state.st_mtime_ns, state.st_size)
    return made if listed is None or file.name in listed else None


@functools.lru_cache(maxsize=8)
def _described(folder: Path, time: int, size: int) -> tuple[MadeWith | None, frozenset[str] | None]:
    """What a folder was made with, and the names of its files, None where they are not listed yet. A folder may have very many files, so
    its manifest is read once; time and size: of the manifest."""
    try:
        manifest = _manifest(folder)
    except DataError:
        return None, None
    if manifest is None:
        return None, None
    given = [str(manifest["settings"].get(name, "")) for name in ("model", "tokenizer", "template")]
    files = frozenset(Path(listed["file"]).name for listed in manifest["files"]) if "files" in manifest else None
    return (MadeWith(str(folder), *given) if all(given) else None), files


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None where there is none, or that of something else."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / MANIFEST} cannot be read as JSON ({error}): remove it, or name the files themselves") from None
    return found if isinstance(found, dict) and {"format", "settings", "complete"} <= found.keys() else None
