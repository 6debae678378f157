"""A run that is asked to stop finishes its step, saves, and says how to go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers send before they kill."""


class StopRequest:
    """Listens for SIGINT and SIGTERM; a context manager. The first is kept in `signal`; a second one does
    what it does elsewhere.

    Outside the main thread, where Python allows no handlers, nothing is listened for.
    """

    def __init__(self, *, announce: bool = False) -> None:
        self._announce = announce
        self._before: dict[signal.Signals, Any] = {}
        self.signal: signal.Signals | None = None
        """What was received."""

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._received) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listen_no_more()

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._listen_no_more()
            os.kill(os.getpid(), number)
            return
        self.signal = signal.Signals(number)
        if self._announce and sys.__stderr__ is not None:
            # not print: the signal may have come in the middle of one
            os.write(sys.__stderr__.fileno(), f"\n{self.signal.name}: stopping after this step; once more to stop at once\n".encode())

    def _listen_no_more(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
