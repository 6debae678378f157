"""What a name of data stands for: a file, the files of a folder, or those that a pattern matches, always in the same order.

data/train.jsonl     that file
data/                the data files in it, by name; those in its folders are not looked for
prepared/            what ``maskkit prepare`` has written: the files that its manifest lists
data/part-*.jsonl    the data files that match; ``**`` stands for folders of any depth
quickstart           the bundled data set
"""

from __future__ import annotations

import difflib
import functools
import glob
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskkit.errors import DataError, suggest
from maskkit.records.prepared import MANIFEST, prepared_files, prepared_folder

logger = logging.getLogger("maskkit.records")

BUNDLED = "quickstart"
"""Name of the data set that comes with the package."""

ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet")
"""What names of data files end with; all but the last also with ``.gz`` behind."""

EXPECTED = f"expected names that end with {', '.join(ENDINGS)} (.gz is fine behind the JSON ones)"

METADATA = (MANIFEST, "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files beside data that say something about it."""

_HIDDEN = (".", "_")
"""What names begin with that are passed over: temporary files, marks such as ``_SUCCESS``."""


def data_files(source: str | Path) -> list[str]:
    """The files that a name stands for. Those of a folder, and those that a pattern matches, are sorted by name, character by character.

    Hidden files, names that begin with ``_`` and `METADATA` are passed over. Files of several types are read all, with a warning.

    Raises DataError for a file that is missing, a folder or pattern without any data file, and a prepared folder that is not whole.
    """
    path, text = Path(source), str(source)
    if path.is_file():
        return [text]
    if path.is_dir():
        return _in_folder(path)
    if text == BUNDLED:
        return [BUNDLED]
    if _is_pattern(text):
        return _matching(text)
    raise DataError(no_file(path))


def no_file(path: Path) -> str:
    """What to say of a file that is not there."""
    if path.is_dir():
        return f"{path} is a folder, expected a file of rows ({', '.join(ENDINGS)})"
    beside = [p.name for p in path.parent.iterdir() if _ending(p.name)] if path.parent.is_dir() else []
    beside = difflib.get_close_matches(path.name, beside, n=5, cutoff=0)
    hint = suggest(path.name, beside) if beside else f" No data file is in {str(path.parent)!r}."
    return f"there is no file {path}.{hint}"


def _in_folder(folder: Path) -> list[str]:
    prepared = prepared_folder(folder)
    if prepared is not None:
        return prepared_files(prepared)
    names = sorted(child.name for child in folder.iterdir() if child.is_file())
    chosen = [name for name in names if _ending(name) and name not in METADATA and not name.startswith(_HIDDEN)]
    if not chosen:
        raise DataError(f"no data file is in the folder {folder}{_found(names)}, {EXPECTED}{_deeper(folder)}")
    _tell_types(str(folder), chosen)
    return [str(folder / name) for name in chosen]


def _matching(pattern: str) -> list[str]:
    matches = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 (it does not go into linked folders everywhere)
    files = sorted((path for path in matches if path.is_file()), key=lambda path: path.parts)
    chosen = [path for path in files if _ending(path.name) and path.name not in METADATA and not _is_hidden(path, pattern)]
    if not chosen:
        raise DataError(f"no data file matches the pattern {pattern!r}{_found([path.name for path in files])}, {EXPECTED}")
    for prepared in {prepared_folder(folder) for folder in {path.parent for path in chosen}} - {None}:
        assert prepared is not None
        listed = {Path(file) for file in prepared_files(prepared)}
        chosen = [path for path in chosen if prepared not in path.parents or path in listed]
    _tell_types(pattern, [path.name for path in chosen])
    return list(map(str, chosen))


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _is_hidden(path: Path, pattern: str) -> bool:
    """Whether a wildcard, rather than the pattern's own letters, let a hidden file or folder in."""
    asked = Path(pattern).parts
    fixed = next(number for number, part in enumerate(asked) if _is_pattern(part))
    hidden, meant = (any(part.startswith(_HIDDEN) for part in parts[fixed:]) for parts in (path.parts, asked))
    return hidden and not meant


def _ending(name: str) -> str:
    """What marks a file as data: ``.jsonl``, ``.json.gz``; "" for a file of another type."""
    lower = name.lower()
    packed = ".gz" if lower.endswith(".gz") else ""
    ending = next((ending for ending in ENDINGS if lower.removesuffix(".gz").endswith(ending)), "")
    return "" if packed and ending == ".parquet" else ending + packed if ending else ""


def _found(names: Sequence[str]) -> str:
    return f" (found: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''})" if names else ""


def _deeper(folder: Path) -> str:
    """A word on folders in the folder that have data files."""
    inner = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith(_HIDDEN))
    within = next((name for name in inner if any(_ending(file.name) for file in (folder / name).iterdir())), None)
    return "" if within is None else f"; {folder / within} has some: name that folder, or a pattern such as '{folder}/**/*'"


def _tell_types(name: str, files: Iterable[str]) -> None:
    types = Counter(map(_ending, files))
    if len(types) > 1:
        counted = ", ".join(f"{count} {ending}" for ending, count in sorted(types.items()))
        _warn_once(f"{name} has files of several types ({counted}), and all are read: if they hold the same rows, name those of one type")


@functools.cache
def _warn_once(message: str) -> None:
    """A run asks several times what a name stands for."""
    logger.warning("%s", message)
