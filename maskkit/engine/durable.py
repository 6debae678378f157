"""Files that are whole or not there, whatever happens while they are written: a kill, a full disk, a power cut.

Everything is written under another name, synced to the disk, and renamed. A rename is one event: a reader sees the old or the new.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PART = ".part"
"""Ending of what is still being written; such names also begin with a dot."""


def part_of(path: Path) -> Path:
    """Where ``path`` is written before it gets its name."""
    return path.with_name(f".{path.name}{PART}")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it. Raises OSError, naming the file, and leaves what was there."""
    part = part_of(path)
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:  # a full disk names no file
        remove(part)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new, empty folder to write into, which becomes ``path`` if the block ends well and is removed if it raises.

    A folder that has that name already is replaced.
    """
    part, old = part_of(path), path.with_name(f".{path.name}.old{PART}")
    remove(part)
    remove(old)
    try:
        part.mkdir(parents=True)
        yield part
        readers = part.stat().st_mode & 0o444
        for child in part.rglob("*"):
            child.chmod(child.stat().st_mode | readers)  # safetensors makes files for the owner alone, whatever the umask says
            sync(child)
        sync(part)
    except BaseException:
        remove(part)
        raise
    if path.exists():
        path.rename(old)  # a folder that is not empty cannot be renamed over
    part.rename(path)
    sync(path.parent)
    remove(old)


class FolderLock:
    """While held, no other process holds a lock of the same folder. The system releases it when the process ends, however it ends.

    Where the system or the file system knows no such locks (Windows, some network disks), nothing is held.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """False if another process holds it."""
        if os.name == "nt":
            return True
        import fcntl

        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            return True
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others have it; nothing where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def sync(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk before going on."""
    if os.name == "nt" and path.is_dir():  # Windows has no such call for folders
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
