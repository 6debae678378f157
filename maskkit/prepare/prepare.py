"""Prepare a data set in parallel, a file of some rows at a time; what a kill leaves is taken up again."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from maskkit.engine.checkpoints import sha256_of
from maskkit.engine.durable import PART, FolderLock, write_text
from maskkit.engine.run_record import versions
from maskkit.errors import ConfigError, DataError
from maskkit.masker import Masker
from maskkit.masker.pool import WorkerPool
from maskkit.masker.worker import Work
from maskkit.prepare.reference import Reference
from maskkit.prepare.settings import Settings
from maskkit.prepare.shard import Totals, keys_digest, read_about, table_of, totals_of, write_shard
from maskkit.records import Record, records_of, with_inline_reasoning
from maskkit.records.prepared import FILES, FORMAT, MANIFEST


@dataclass(frozen=True)
class Prepared:
    """A prepared data set."""

    folder: Path
    totals: Totals
    files: int
    reused: int
    """Files that were there already, from an earlier run that did not come to its end."""


def prepare(
    data: Iterable[str],
    output: str | Path,
    settings: Settings,
    *,
    workers: int = 1,
    rows_per_file: int = 1000,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
) -> Prepared:
    """Encode and weigh every row of ``data`` (files, folders, patterns, or ``quickstart``) into ``output/data/part-*.parquet``.

    Columns: input_ids (int32), loss_weights (float32; or weight_values and weight_lengths), kinds (uint8, codes of `maskkit.kinds.KINDS`),
    generated and straddle (bool), message_index (int32), roles, reply, row_key, source; labels and reference_log_probs if asked for.
    ``manifest.json`` says how they were made: settings, fingerprints of tokenizer and template, versions, totals, and size and sha256 of
    each file.

    Run again with the same settings after it was cut off at any moment, it goes on where it was, and the files are the same to the last
    byte. progress: called with the number of rows of each file that is done. Memory does not grow with the data.

    Raises ConfigError if the folder holds something else (unless ``overwrite``), DataError, naming the row, for one that cannot be read.
    """
    folder = Path(output)
    lock, settings = _opened(folder, settings, overwrite)
    try:
        return _prepare(data, folder, settings, workers, rows_per_file, progress)
    finally:
        lock.release()


def _prepare(data: Iterable[str], folder: Path, settings: Settings, workers: int, size: int, progress: Callable[[int], None]) -> Prepared:
    masker = settings.masker()  # here, before anything is started: what is wrong with the settings is told at once
    described = {"format": FORMAT, "settings": settings.described(masker), "rows_per_file": size, "versions": versions()}
    _check_same(folder, described)
    write_text(folder / MANIFEST, _json({**described, "complete": False}))
    totals, names, reused = Totals(), [], 0
    with contextlib.closing(_made(_tasks(_chunks(data, settings, size), folder / FILES), settings, masker, workers)) as made:
        for task, done in made:
            reused += task.found is not None
            totals.add(done)
            names.append(task.path)
            progress(done.rows)
    if not totals.rows:
        raise DataError(f"{', '.join(data)}: no row is in it")
    for left in set((folder / FILES).glob("*.parquet")) - set(names):  # of an earlier run over more rows
        left.unlink()
    files = [{"file": f"{FILES}/{path.name}", "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in names]
    write_text(folder / MANIFEST, _json({**described, "complete": True, "totals": asdict(totals), "files": files}))
    return Prepared(folder, totals, len(names), reused)


def _opened(folder: Path, settings: Settings, overwrite: bool) -> tuple[FolderLock, Settings]:
    """Take the folder, and what it had begun with: the date that templates print."""
    known = _manifest(folder)
    if folder.is_dir() and any(folder.iterdir()) and known is None:
        raise ConfigError(f"{folder} is not empty, and not a folder that prepare has written: choose another one")
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    if not lock.acquire():
        raise ConfigError(f"{folder} is being written by another process")
    for part in (folder / FILES).glob(f".*{PART}"):
        part.unlink()
    if overwrite:
        for old in [folder / MANIFEST, *(folder / FILES).glob("*.parquet")]:
            old.unlink(missing_ok=True)
    elif known is not None:
        settings = replace(settings, date=known["settings"]["date"])
    return lock, settings


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(f"{folder / MANIFEST} is not JSON ({error}): remove the folder, or choose another one") from None
    return found


def _check_same(folder: Path, described: dict[str, Any]) -> None:
    """Raises ConfigError where what is there was made in another way, and says in which."""
    known = _manifest(folder)
    if known is None:
        return
    flat = json.loads(_json(described))
    for part in ("settings", "versions"):
        for name, value in flat[part].items():
            if known.get(part, {}).get(name) != value:
                raise ConfigError(
                    f"{folder} was begun with {name} {known.get(part, {}).get(name)!r}, now it is {value!r}: choose another folder, or "
                    "--overwrite"
                )
    if known.get("format") != FORMAT:
        raise ConfigError(
            f"{folder} was begun in format {known.get('format')}, files have format {FORMAT} now: another folder, or --overwrite"
        )
    if known.get("rows_per_file") != flat["rows_per_file"]:
        raise ConfigError(
            f"{folder} was begun with {known.get('rows_per_file')} rows per file: use as many, another folder, or --overwrite"
        )


def _chunks(data: Iterable[str], settings: Settings, size: int) -> Iterator[list[Record]]:
    records: Iterator[Record] = (record for path in data for record in records_of(path))
    if settings.inline_reasoning:
        records = map(with_inline_reasoning, records)
    while chunk := list(islice(records, size)):
        yield chunk


class _Task(NamedTuple):
    """A file to be made."""

    path: Path
    rows: str
    """Digest of its rows."""
    records: list[Record]
    found: Totals | None
    """What it comes to, if it is there already."""

    def sources(self) -> list[str]:
        return [record.source for record in self.records]


def _tasks(chunks: Iterable[list[Record]], folder: Path) -> Iterator[_Task]:
    for number, records in enumerate(chunks):
        path, rows = folder / f"part-{number:05d}.parquet", keys_digest(records)
        yield _Task(path, rows, records, read_about(path, rows))


def _made(tasks: Iterable[_Task], settings: Settings, masker: Masker, workers: int) -> Generator[tuple[_Task, Totals], None, None]:
    """Each task, in order, with what its file comes to. Nothing is started, or loaded, before a file is to be made."""
    with contextlib.ExitStack() as started:
        maker, pool = None, None
        for there, group in groupby(tasks, lambda task: task.found is not None):
            if there:
                yield from ((task, task.found) for task in group if task.found is not None)
            elif workers > 1:
                pool = pool or started.enter_context(WorkerPool(partial(_work, settings), workers, ahead=1, short=False))
                yield from pool.in_order("file", group, _Task.sources)
            else:  # here, so that a model is loaded once
                maker = maker or _Maker(settings, masker)
                yield from ((task, maker(task)) for task in group)


def _work(settings: Settings) -> Work:
    """What workers do."""
    return {"file": _Maker(settings, settings.masker())}


class _Maker:
    """Makes files in one process."""

    def __init__(self, settings: Settings, masker: Masker) -> None:
        self._settings, self._masker = settings, masker
        self._reference = None
        if settings.reference is not None:
            trust = settings.trust_remote_code
            self._reference = Reference(settings.reference, self._masker.tokenizer, bf16=settings.bf16, trust_remote_code=trust)

    def __call__(self, task: _Task) -> Totals:
        before = Counter(self._masker.counts)
        examples = [example for record in task.records for example in self._masker.examples(record)]
        totals = totals_of(len(task.records), examples, self._masker.counts - before)
        reference = None if self._reference is None else self._reference(examples)
        write_shard(table_of(examples, self._settings, reference), task.path, task.rows, totals)
        return totals


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
