"""What a template has looked at, and when: the proof that a prompt is the beginning of the conversation, without rendering it.

A template is a program without clock or dice: given the same values it prints the same. Rendering ``messages[:i]`` can differ from
rendering all messages only after the template has seen something that shows which of the two it was given: a message behind the
``i`` th, the number of messages, their end, ``loop.last``, ``add_generation_prompt``. `MessageList` and `WatchedLoop` note every such look
as the least number of messages that would have shown the same (`Watch.note`); `EVERYTHING` where only all of them would.

Beside that a `Watch` logs each loop over the messages that stands at the top of the template: the position in the output and the
namespaces whenever a message is taken. A variable set inside a loop's body is gone with the iteration, so namespaces are all that one
iteration hands to the next. `replay` uses the log.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, SupportsIndex

from jinja2.runtime import Context, LoopContext
from jinja2.utils import Namespace, missing

from maskkit.chat.containers import TracedList

EVERYTHING = 1 << 60
"""More messages than any conversation has."""

ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
"""Jinja's comparisons of order."""

State = tuple[dict[str, Any], ...]
"""Attributes of the namespaces, in order of their creation."""
Bounds = Mapping[str, tuple[float, float]]
ANY = (-math.inf, math.inf)
NONE = (math.inf, -math.inf)


class Pull(NamedTuple):
    """A loop asks for the next message."""

    chunks: int
    """How many chunks the template has printed."""
    needed: int
    """The least number of messages that would have shown the same since the loop began."""
    state: State
    bounds: Bounds
    """Between which numbers the loop's free attributes could lie, and all comparisons since the loop began come out the same."""


_as_pull: Callable[[tuple[int, int, State, Bounds]], Pull] = partial(tuple.__new__, Pull)


class LoopLog:
    """One loop over messages, or their numbers, at the top of the template."""

    def __init__(
        self, number: int, walked: Walked, chunks: int, needed: int, variables: dict[str, Any], free: tuple[str, ...], alive: list[int]
    ) -> None:
        self.number = number
        """Which of the template's loops it is."""
        self.free = free
        """Attributes of namespaces that the loop leaves as they are, and that the template does nothing with but compare."""
        self.base = walked._maskkit_base
        """Index of the first message that it walks over."""
        self.first = walked._first
        """The number that it begins with; None if it walks over the messages themselves."""
        self.chunks = chunks
        self.needed = needed
        """The least number of messages that would have shown the same before the loop."""
        self.variables = variables
        self.alive = alive
        self.pulls: list[Pull] = []
        self.is_ahead = False
        """Was the last message only looked at so far?"""

    def left(self) -> None:
        """The loop is over: a message that was looked at ahead and never taken has no iteration."""
        if self.is_ahead:
            self.pulls.pop()
            self.is_ahead = False


class Watch:
    """Follows one rendering."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        """What the template has printed so far."""
        self.tail_begins = 0
        """The first of them that is wanted."""
        self.loops: list[LoopLog] = []
        self.namespaces: list[Namespace] = []
        self.bounds: Bounds = {}
        self.needed = 0
        self.needed_before = 0
        self.looks = 0
        """How often the template has looked at the messages."""
        self.looks_in_loops = 0
        """How often it had, when its last loop over them ended."""

    def note(self, needed: int) -> None:
        """The template sees what it would not see with fewer messages than ``needed``."""
        self.looks += 1
        if needed > self.needed:
            self.needed = needed

    def flag(self) -> None:
        """The template asks for ``add_generation_prompt``, which no two renderings have in common."""
        self.needed = EVERYTHING

    def compared(self, name: str, value: Any, other: Any, comparison: Callable[[Any], Any]) -> None:
        """The attribute ``name`` has this value, and was compared with another."""
        low, high = self.bounds.get(name, ANY)
        around_low, around_high = _as_wide(value, other, comparison)
        narrower = max(low, around_low), min(high, around_high)
        if narrower != self.bounds.get(name):
            # Pulls keep the one before.
            self.bounds = {**self.bounds, name: narrower}

    def namespace_class(self, original: Callable[..., Namespace]) -> Callable[..., Namespace]:
        """``namespace(...)`` for this rendering."""

        def namespace(*args: Any, **kwargs: Any) -> Namespace:
            made = original(*args, **kwargs)
            self.namespaces.append(made)
            return made

        return namespace

    def alive(self, variables: Mapping[str, Any]) -> list[int]:
        """Which namespaces, in order of their creation, the template can still reach."""
        reached: dict[int, Any] = {}
        _reach(list(variables.values()), reached)
        return [number for number, namespace in enumerate(self.namespaces) if id(namespace) in reached]

    def state(self, alive: Iterable[int]) -> State:
        """What these namespaces hold."""
        namespaces = self.namespaces
        return tuple([dict(_held(namespaces[number], _ATTRIBUTES)) for number in alive])

    def walk(self, context: Context, walked: Walked, free: tuple[str, ...], number: int) -> Walk:
        """The loop ``number`` at the top of the template begins; ``free``: see `LoopLog`."""
        self.needed_before = max(self.needed_before, self.needed)
        self.needed = 0
        self.bounds = {}
        log = LoopLog(number, walked, len(self.chunks), self.needed_before, dict(context.vars), free, self.alive(context.vars))
        self.loops.append(log)
        return Walk(self, walked, log)


class Walk:
    """The messages, or their numbers, as one loop takes them, from the ``skipped`` th on."""

    def __init__(self, watch: Watch, walked: Walked, log: LoopLog | None = None, skipped: int = 0) -> None:
        self.watch = watch
        self.walked = walked
        self.log = log
        self.skipped = skipped

    def __len__(self) -> int:
        return self.walked._size()

    def __iter__(self) -> Iterator[Any]:
        pull, item, log, watch = self._pull, self.walked._item, self.log, self.watch
        for index in range(self.skipped, len(self)):
            if log is not None and not log.alive:
                log.pulls.append(_as_pull((len(watch.chunks), watch.needed, (), watch.bounds)))
            else:
                pull()
            yield item(index)
        pull()
        self.watch.note(EVERYTHING)
        self.watch.looks_in_loops = self.watch.looks

    def _pull(self) -> None:
        log = self.log
        if log is not None:
            watch = self.watch
            state = watch.state(log.alive) if log.alive else ()
            log.pulls.append(_as_pull((len(watch.chunks), watch.needed, state, watch.bounds)))

    def taken(self) -> None:
        """The message pulled last was only looked at until now: its iteration begins here."""
        if self.log is not None:
            self.log.left()
            self._pull()

    def ahead(self) -> None:
        """The message pulled last is only looked at for now."""
        if self.log is not None:
            self.log.is_ahead = True


def _as_wide(value: Any, other: Any, comparison: Callable[[Any], Any]) -> tuple[float, float]:
    """The widest range around ``value`` in which it compares with the other number as it does."""
    if type(value) is not int or not isinstance(other, int):
        return NONE
    below, same, above = (bool(comparison(other + step)) for step in (-1, 0, 1))
    found = bool(comparison(value))
    if value == other:
        return (-math.inf if below == found else other), (math.inf if above == found else other)
    if value < other:
        return -math.inf, (other - 1 if same != found else other if above != found else math.inf)
    return (other + 1 if same != found else other if below != found else -math.inf), math.inf


def _reach(values: Iterable[Any], reached: dict[int, Any]) -> None:
    for value in values:
        if isinstance(value, Namespace):
            if id(value) not in reached:
                reached[id(value)] = value
                _reach(attributes_of(value).values(), reached)
        elif type(value) in (list, tuple):
            _reach(value, reached)
        elif type(value) is dict:
            _reach(value.values(), reached)


_held = object.__getattribute__
_ATTRIBUTES = "_Namespace__attrs"


def attributes_of(namespace: Namespace) -> dict[str, Any]:
    """The attributes that a template has set on a namespace."""
    attributes: dict[str, Any] = _held(namespace, _ATTRIBUTES)
    return attributes


class MessageList(TracedList):
    """The messages, or those from ``_maskkit_base`` on. Each way to look at them is noted; names that templates cannot reach."""

    __slots__ = ("_maskkit_base", "_maskkit_watch")
    _maskkit_base: int
    _maskkit_watch: Watch
    _first = None

    def _size(self) -> int:
        return list.__len__(self)

    def _item(self, index: int) -> Any:
        return list.__getitem__(self, index)

    def _seen(self, count: int) -> None:
        self._maskkit_watch.note(self._maskkit_base + count)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._slice(key)
        found = list.__getitem__(self, key)
        self._seen(key + 1 if key >= 0 else EVERYTHING)
        return found

    def _slice(self, key: slice) -> Any:
        start, stop = key.start or 0, key.stop
        if key.step not in (None, 1) or start < 0 or (stop is not None and not 0 <= stop <= list.__len__(self)):
            self._seen(EVERYTHING)
        elif stop is not None:
            self._seen(stop)
        else:
            return watched(list.__getitem__(self, key), self._maskkit_path, self._maskkit_base + start, self._maskkit_watch)
        return list.__getitem__(self, key)

    def __iter__(self) -> Iterator[Any]:
        for count, message in enumerate(list.__iter__(self), 1):
            self._seen(count)
            yield message
        self._seen(EVERYTHING)

    def __bool__(self) -> bool:
        self._seen(1)
        return list.__len__(self) > 0


def _noting_all(name: str) -> Callable[..., Any]:
    original = getattr(TracedList, name)

    def method(self: MessageList, *args: Any, **kwargs: Any) -> Any:
        self._seen(EVERYTHING)
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


_WHOLE = (
    "__len__", "__contains__", "__reversed__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__",
    "__add__", "__mul__", "__rmul__", "__str__", "__repr__", "copy", "count", "index",
)  # fmt: skip
"""What shows all of a list."""

for _name in _WHOLE:
    setattr(MessageList, _name, _noting_all(_name))


def _radd(self: MessageList, other: Any) -> Any:
    self._seen(EVERYTHING)
    return other + list(list.__iter__(self)) if isinstance(other, list) else NotImplemented


MessageList.__radd__ = _radd  # type: ignore[attr-defined]


def watched(messages: list[Any], path: Any, base: int, watch: Watch) -> MessageList:
    """Messages, the first of which is the ``base`` th of the conversation."""
    made = MessageList(messages)
    made._maskkit_path, made._maskkit_base, made._maskkit_watch = path, base, watch
    return made


class MessageRange:
    """``range(start, messages|length)``: that the numbers end shows how many messages there are, and nothing before does."""

    __slots__ = ("_first", "_maskkit_base", "_maskkit_watch", "_numbers")

    def __init__(self, messages: MessageList, numbers: range) -> None:
        self._first = numbers.start
        self._numbers = numbers
        self._maskkit_base = messages._maskkit_base + numbers.start
        self._maskkit_watch = messages._maskkit_watch

    def _size(self) -> int:
        return len(self._numbers)

    def _item(self, index: int) -> int:
        return self._numbers[index]

    def __len__(self) -> int:
        self._maskkit_watch.note(EVERYTHING)
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        for count, number in enumerate(self._numbers, 1):
            self._maskkit_watch.note(self._maskkit_base + count)
            yield number
        self._maskkit_watch.note(EVERYTHING)


Walked = MessageList | MessageRange


class WatchedLoop(LoopContext):
    """Jinja's ``loop``, which notes what it tells about the messages still to come."""

    def __init__(self, iterable: Any, undefined: Any, recurse: Any = None, depth0: int = 0) -> None:
        super().__init__(iterable, undefined, recurse, depth0)
        self._walk = iterable if type(iterable) is Walk else None
        if self._walk is not None and self._walk.skipped:
            self.index0 = self._walk.skipped - 1
            self._current = self._walk.walked._item(self.index0)

    def __next__(self) -> tuple[Any, LoopContext]:
        if self._walk is not None and self._after is not missing:
            self._walk.taken()
        return super().__next__()

    def _look(self, ahead: SupportsIndex) -> None:
        if self._walk is not None:
            self._walk.watch.note(self._walk.walked._maskkit_base + self.index0 + int(ahead))

    def _peek_next(self) -> Any:
        self._look(2)
        was_known = self._after is not missing
        found = super()._peek_next()
        if self._walk is not None and not was_known and found is not missing:
            self._walk.ahead()
        return found

    @property
    def length(self) -> int:
        self._look(EVERYTHING)
        if self._walk is not None:
            return len(self._walk)
        return super().length

    def changed(self, *value: Any) -> bool:
        # It remembers earlier iterations beside the namespaces.
        self._look(EVERYTHING)
        return super().changed(*value)
