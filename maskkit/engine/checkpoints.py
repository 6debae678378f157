"""Checkpoints on disk: whole folders with a manifest, so that damage is seen and the newest good one is taken.

    checkpoints/
      step-200/
        manifest.json       bytes and sha256 of every other file, and its own
        ...                 what `maskkit.engine.state` writes
      step-300/

This module knows nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from maskkit.engine.durable import PART, part_of, remove, whole_folder
from maskkit.errors import ConfigError, TrainingError

logger = logging.getLogger(__name__)

PREFIX = "step-"
MANIFEST = "manifest.json"
FORMAT = 1
"""Of the manifest; a reader refuses what it does not know."""

Writer = Callable[[Path], None]
"""Writes its files into the folder that it is given."""


class Damaged(Exception):
    """A checkpoint is not what was written; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files are all as they were written."""

    path: Path
    step: int


class Checkpoints:
    """The checkpoints of one run, in ``root``; after each new one only the newest ``keep_last`` stay (None: all)."""

    def __init__(self, root: Path, keep_last: int | None = None) -> None:
        self.root, self._keep_last = root, keep_last

    def folders(self) -> list[tuple[int, Path]]:
        """Step and folder of each, oldest first, whole or not. Those still being written are none."""
        if not self.root.is_dir():
            return []
        found = [(_step_of(child.name), child) for child in self.root.iterdir() if child.is_dir()]
        return sorted((step, child) for step, child in found if step is not None)

    def save(self, step: int, write: Writer, *, first: bool = True) -> Path:
        """Write a checkpoint; it has its name only once it is complete and on the disk, and older ones go only then.

        first: where several processes write one checkpoint, the first of them makes the folder, and completes it after its own ``write``
        has returned; the others only write.

        Raises TrainingError where it cannot be written: disk full, folder read-only. Checkpoints that are there stay as they are.
        """
        folder = self.root / f"{PREFIX}{step}"
        try:
            if not first:
                write(part_of(folder))
                return folder
            with whole_folder(folder) as part:
                write(part)
                (part / MANIFEST).write_bytes(manifest_text(part, step).encode())
        except (OSError, SafetensorError, RuntimeError) as error:  # torch and safetensors report a full disk with errors of their own
            raise TrainingError(f"step {step}: {self._cannot_write(folder, error)}") from error
        self._prune(step)
        return folder

    def newest(self) -> Checkpoint:
        """The newest good checkpoint. What is damaged is skipped with a warning. Raises ConfigError where there is none."""
        damage: list[str] = []
        for step, folder in reversed(self.folders()):
            try:
                verify(folder)
            except Damaged as error:
                damage.append(f"{folder.name}: {error}")
                logger.warning("checkpoint %s is damaged (%s): an older one is looked for", folder, error)
            else:
                return Checkpoint(folder, step)
        if damage:
            raise ConfigError(
                f"every checkpoint in {str(self.root)!r} is damaged ({'; '.join(damage)}): restore one from a copy, or start the run anew "
                "with overwrite_output_dir=true and without --resume"
            )
        raise ConfigError(
            f"there is no checkpoint in {str(self.root)!r} to resume from: run without --resume"
            + (", with overwrite_output_dir=true" if self.root.parent.is_dir() else "")
            + "; training.save_steps says how often checkpoints are saved"
        )

    def clear(self) -> None:
        """Remove all checkpoints, and the folder if nothing else is in it."""
        if not self.root.is_dir():
            return
        for _, folder in self.folders():
            remove(folder)
        self.clear_parts()
        if not any(self.root.iterdir()):
            self.root.rmdir()

    def clear_parts(self) -> None:
        """Remove what a process that was killed left half-written."""
        if self.root.is_dir():
            for child in self.root.glob(f".{PREFIX}*{PART}"):
                remove(child)

    def _prune(self, newest: int) -> None:
        """Those after ``newest`` are of a future that a resumed run gave up; they are replaced when it comes there."""
        if self._keep_last is not None:
            older = [folder for step, folder in self.folders() if step < newest]
            for folder in older[: max(0, len(older) - (self._keep_last - 1))]:
                remove(folder)

    def _cannot_write(self, folder: Path, error: Exception) -> str:
        good = _newest_good(self.folders())
        rest = f"{good} is untouched" if good else "there was none before it"
        return f"checkpoint {folder} cannot be written: {_reason(error, self.root)}; {rest}. Make room, then --resume"


def manifest_text(folder: Path, step: int) -> str:
    """The manifest of the files that are in ``folder`` now."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    return _sealed({"format": FORMAT, "step": step, "files": files})


def verify(folder: Path) -> None:
    """Raises Damaged if a file that the manifest lists, or the manifest itself, is not as it was written."""
    step, files = _read_manifest(folder)
    if folder.name != f"{PREFIX}{step}":
        raise Damaged(f"its manifest is that of step {step}")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise Damaged(f"{name} is missing")
        try:
            size = path.stat().st_size
            if size != expected["bytes"]:
                raise Damaged(f"{name} has {size} bytes, expected {expected['bytes']}")
            if sha256_of(path) != expected["sha256"]:
                raise Damaged(f"the content of {name} has changed: its sha256 is not that of the manifest")
        except OSError as error:
            raise Damaged(f"{name} cannot be read: {error.strerror or error}") from error


def sha256_of(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _read_manifest(folder: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    try:
        content = (folder / MANIFEST).read_bytes()
        values = json.loads(content)
    except FileNotFoundError:
        raise Damaged(f"{MANIFEST} is missing") from None
    except (OSError, ValueError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {error}") from error
    # compared byte for byte: a changed blank is no harm, but shows that the disk is not to be trusted
    if not isinstance(values, dict) or _sealed({k: v for k, v in values.items() if k != "sha256"}).encode() != content:
        raise Damaged(f"the content of {MANIFEST} has changed: its sha256 is not its own")
    if values["format"] != FORMAT:
        raise Damaged(f"{MANIFEST} has format {values['format']}, expected {FORMAT}: it was written by another version of maskkit")
    return values["step"], values["files"]


def _sealed(values: dict[str, Any]) -> str:
    """As JSON, with the sha256 of the rest as one more key."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return json.dumps({**values, "sha256": digest}, indent=1) + "\n"


def _step_of(name: str) -> int | None:
    number = name.removeprefix(PREFIX)
    return int(number) if name.startswith(PREFIX) and number.isascii() and number.isdigit() else None


def _newest_good(folders: Sequence[tuple[int, Path]]) -> Path | None:
    for _, folder in reversed(folders):
        try:
            verify(folder)
        except Damaged:
            continue
        return folder
    return None


def _reason(error: Exception, root: Path) -> str:
    """The system's own words, and how much room there is."""
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    room = f"{shutil.disk_usage(place).free / 1e6:.1f} MB are free"
    return f"{getattr(error, 'strerror', None) or ' '.join(str(error).split())} ({room})"
