"""Says in one line which strategy, on which row, at which regular expression, is not done after `PATIENCE` seconds.

A hopeless expression such as ``(a+)+$`` would hang without a word: while Python searches, no other thread of its process runs. So another
process watches: it reads in shared memory what this one is at, writes to the same standard error, and ends with it. It is started when
first there is something to watch, which costs a row a few writes to memory.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import mmap
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from types import TracebackType

logger = logging.getLogger("maskkit.strategy.slow")  # in the process that watches, this module has another name

PATIENCE = 10.0
"""Seconds."""

_HEAD = struct.Struct("<QH")
"""Number of what the process is at, and length of the line about it; 0 where it is at nothing."""
_SIZE = 1024


class Asked:
    """A context in which a strategy is asked for the weights of a row. watched: it is told of; else only expressions in it are."""

    def __init__(self, source: str, label: str, *, watched: bool = True) -> None:
        self._line = f"{source}: strategy {label!r} is not done after {PATIENCE:g} s"
        self._watched = watched

    def __enter__(self) -> None:
        _within.append(self._line)
        if self._watched:
            _tell(self._line)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _within.pop()
        if self._watched:
            _tell("")


class Matching(Asked):
    """A context in which the strategy that is asked searches for an expression."""

    def __init__(self, regex: str) -> None:
        asked = _within[-1] if _within else f"a search is not done after {PATIENCE:g} s"
        self._line = f"{asked}, at the expression {regex!r}: repeats within repeats may never end; stop it (Ctrl-C) and write them as one"
        self._watched = True


_within: list[str] = []
"""The lines of the contexts that are open, the innermost last."""

_watch: _Watch | None = None


def _tell(line: str) -> None:
    global _watch
    if _watch is None or _watch.owner != os.getpid():  # a fork has the memory in common with another process
        _watch = _Watch()
    _watch.tell(line)


class _Watch:
    """Memory in common with a process that watches this one."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._number = 0
        with tempfile.TemporaryFile() as file:
            file.truncate(_SIZE)
            self._memory = mmap.mmap(file.fileno(), _SIZE)
            if os.name == "posix":
                self._start(file.fileno())

    def _start(self, file: int) -> None:
        command = [sys.executable, "-I", "-S", __file__, str(file), str(PATIENCE)]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[file], start_new_session=True)
        except OSError as error:
            logger.warning("no process can be started that would tell of slow strategies: %s", error.strerror)
        else:
            atexit.register(self._end, process)

    def tell(self, line: str) -> None:
        """What this process is at; nothing, if it is empty."""
        content = line.encode("utf-8", "replace")[: _SIZE - _HEAD.size]
        self._number += 1
        _HEAD.pack_into(self._memory, 0, self._number, 0)
        self._memory[_HEAD.size : _HEAD.size + len(content)] = content
        _HEAD.pack_into(self._memory, 0, self._number, len(content))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if self.owner == os.getpid():
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)


def watch(file: int, patience: float) -> None:
    """Read the memory of another process, and write a line where it does not get on, once for each strategy and expression; until the
    standard input ends, which is when that process does."""
    memory = mmap.mmap(file, _SIZE, prot=mmap.PROT_READ)
    since, before, said = time.monotonic(), 0, set()
    while not select.select([0], [], [], patience / 10)[0]:
        number, length = _HEAD.unpack_from(memory)
        if number != before or not length:
            since, before = time.monotonic(), number
        elif time.monotonic() - since >= patience:
            line = memory[_HEAD.size : _HEAD.size + length].decode("utf-8", "ignore")
            what = line.partition(": strategy ")[2]
            if _HEAD.unpack_from(memory)[0] == number and what not in said:
                said.add(what)
                os.write(2, f"warning: {''.join(c if c.isprintable() else '?' for c in line)}\n".encode())


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]))
