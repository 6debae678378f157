"""Whose loop iteration is running: the message that template text written now belongs to.

Templates walk over the messages with ``{% for message in messages %}``. While one iteration runs, everything the template
writes, inside macros and set-blocks too, is scaffolding of that message. The compiled template says so with *marks*, strings
without characters among its output: text behind a mark belongs to the mark's owner. Where output is joined, the owners are
settled (`output.assemble`). The state is per thread and reset per rendering.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = -1
"""Owner of text that no message's iteration emitted."""


class Mark(str):
    """No text: what follows it among the output belongs to ``_owner``."""

    __slots__ = ("_owner",)
    _owner: int


def _mark(owner: int) -> Mark:
    made = Mark()
    made._owner = owner
    return made


class _Marks(dict[int, Mark]):
    def __missing__(self, owner: int) -> Mark:
        made = self[owner] = _mark(owner)
        return made


_MARKS = _Marks()


class _State(threading.local):
    def __init__(self) -> None:
        self.current = NOBODY
        self.outer: list[int] = []


_state = _State()


def current_owner() -> int:
    """Index of the message whose iteration is running, or `NOBODY`."""
    return _state.current


@contextmanager
def fresh_owners() -> Iterator[None]:
    """One rendering: starts with nobody, and leaves no trace, also when the template raises."""
    saved = _state.current, _state.outer
    _state.current, _state.outer = NOBODY, []
    try:
        yield
    finally:
        _state.current, _state.outer = saved


def enter_loop() -> None:
    """A loop begins: remember who owned the text around it."""
    _state.outer.append(_state.current)


def enter_iteration(owner: int) -> Mark:
    """A loop body begins; ``owner`` is the message it is about, or `NOBODY` if it is about something else."""
    if owner == NOBODY:
        owner = _state.outer[-1]
    _state.current = owner
    return _MARKS[owner]


def adopt(owner: int) -> Mark:
    """A loop that does not walk over messages picked one by index: it owns the text from here on."""
    if _state.outer and _state.current == NOBODY:
        _state.current = owner
    return _MARKS[_state.current]


def leave_loop() -> Mark:
    """A loop ended: the text after it belongs to whom it belonged before."""
    _state.current = owner = _state.outer.pop()
    return _MARKS[owner]
