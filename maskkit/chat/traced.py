"""A string that knows where each of its characters came from.

`Traced` is a ``str`` in every respect: same text, same hash, same comparisons. Beside its text it carries *runs* that cover
it from left to right, and every operation that returns text returns the runs of the result. A run is the tuple
``(length, origin, offset, mapping, owner)``:

* ``origin`` says who wrote the characters: a data path such as ``("messages", 0, "content")``, `TEMPLATE` for text written in
  the template, or `UNKNOWN` for text whose way could not be followed. Nothing is ever guessed: what loses its way is unknown.
* ``offset`` is where in the value at that path the run begins, in characters; -1 where it does not map to single characters.
* ``mapping`` is `EXACT` (one character per source character), `ESCAPED` (all characters of the run stand for the one source
  character at ``offset``) or `DERIVED` (made of the value as a whole).
* ``owner`` is the index of the message whose loop iteration emitted the characters, or `NOBODY`.

What ``repr``, ``%`` and ``format`` make of a text may hold containers, which hold texts in turn: those three methods stand in
`maskkit.chat.containers` and `maskkit.chat.formatting`, which import this module and are imported where they are called.

Names that a template could reach start with an underscore, which the sandbox refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import index
from typing import Any, SupportsIndex, TypeVar

from maskkit.chat.limits import check_characters, check_items
from maskkit.chat.owners import NOBODY

Origin = tuple[Any, ...]
Run = tuple[int, Origin, int, int, int]

TEMPLATE: Origin = ("template",)
UNKNOWN: Origin = ("unknown",)
EXACT, ESCAPED, DERIVED = 0, 1, 2

Self = TypeVar("Self", bound="Traced")
_new = str.__new__


RUN_COST = 100
"""A run takes about as much memory as so many characters."""


def is_data(origin: Origin) -> bool:
    """Does the origin name a place in the data?"""
    return origin is not TEMPLATE and origin is not UNKNOWN


class Traced(str):
    """A ``str`` with runs. ``Traced(text)`` without runs is of unknown origin."""

    __slots__ = ("_runs",)
    _runs: list[Run]

    def __new__(cls: type[Self], text: str = "", runs: list[Run] | None = None) -> Self:
        made = _new(cls, text)
        made._runs = runs_of(text) if runs is None else runs
        return made

    def __str__(self) -> str:
        return self

    def __format__(self, spec: str) -> str:
        return derive(str.__format__(plain(self), spec), self) if spec else self

    def __repr__(self) -> str:
        from maskkit.chat.containers import traced_repr

        return traced_repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, (plain(self),))

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, str):
            return NotImplemented
        check_characters(len(self) + len(other))
        return make(str.__add__(self, other), self._runs + runs_of(other))

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, str):
            return NotImplemented
        check_characters(len(self) + len(other))
        return make(str.__add__(plain(other), self), runs_of(other) + self._runs)

    def __mul__(self, times: SupportsIndex) -> Traced:
        count = max(index(times), 0)
        runs = self._runs
        if len(runs) == 1 and runs[0][3] == DERIVED:
            length, *origin = runs[0]
            runs = [(length * count, *origin)] if count else []  # type: ignore[list-item]
        else:
            check_characters(len(runs) * count * RUN_COST)
            runs = runs * count
        check_characters(len(self) * count)
        return make(str.__mul__(self, count), runs, type(self))

    __rmul__ = __mul__

    def __mod__(self, arguments: Any) -> str:
        from maskkit.chat.formatting import percent

        return percent(self, arguments)

    def __rmod__(self, template: Any) -> Any:
        if not isinstance(template, str):
            return NotImplemented
        return Traced(plain(template)) % self

    def format(self, *args: Any, **kwargs: Any) -> str:
        from maskkit.chat.formatting import brace_format

        return brace_format(self, str.format(self, *args, **kwargs), args, kwargs)

    def format_map(self, mapping: Mapping[str, Any]) -> str:  # type: ignore[override]
        from maskkit.chat.formatting import brace_format

        return brace_format(self, str.format_map(self, mapping), (), mapping)

    def __getitem__(self, key: SupportsIndex | slice) -> Traced:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._cut(start, max(start, stop))
            return concat([self._cut(i, i + 1) for i in range(start, stop, step)], type(self))
        at = index(key)
        at = at + len(self) if at < 0 else at
        if not 0 <= at < len(self):
            raise IndexError("string index out of range")
        return self._cut(at, at + 1)

    def __iter__(self) -> Iterator[Traced]:
        return (self._cut(i, i + 1) for i in range(len(self)))

    def _cut(self, start: int, stop: int) -> Traced:
        """``self[start:stop]`` for bounds already inside the text."""
        if start <= 0 and stop >= len(self):
            return self
        runs: list[Run] = []
        at = 0
        for length, origin, offset, mapping, owner in self._runs:
            if at >= stop:
                break
            begin, end = max(start, at), min(stop, at + length)
            if begin < end:
                runs.append((end - begin, origin, offset + begin - at if mapping == EXACT else offset, mapping, owner))
            at += length
        return make(str.__getitem__(self, slice(start, stop)), runs, type(self))

    # -- pieces -----------------------------------------------------------------------------------------------

    def lstrip(self, chars: str | None = None) -> Traced:
        return self._cut(len(self) - len(str.lstrip(self, chars)), len(self))

    def rstrip(self, chars: str | None = None) -> Traced:
        return self._cut(0, len(str.rstrip(self, chars)))

    def strip(self, chars: str | None = None) -> Traced:
        stripped = len(str.strip(self, chars))
        if stripped == len(self):
            return self
        start = len(self) - len(str.lstrip(self, chars)) if stripped else 0
        return self._cut(start, start + stripped)

    def removeprefix(self, prefix: str) -> Traced:
        return self._cut(len(prefix), len(self)) if str.startswith(self, prefix) else self

    def removesuffix(self, suffix: str) -> Traced:
        return self._cut(0, len(self) - len(suffix)) if suffix and str.endswith(self, suffix) else self

    def _pieces(self, texts: list[str], separator: str | None) -> list[str]:
        pieces: list[str] = []
        at = 0
        for text in texts:
            at = str.find(self, text, at) if separator is None else at
            pieces.append(self._cut(at, at + len(text)))
            at += len(text) + len(separator or "")
        return pieces

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._pieces(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._pieces(str.rsplit(self, sep, maxsplit), sep)

    def splitlines(self, keepends: bool = False) -> list[str]:
        pieces: list[str] = []
        at = 0
        for whole, kept in zip(str.splitlines(self, True), str.splitlines(self, keepends), strict=True):
            pieces.append(self._cut(at, at + len(kept)))
            at += len(whole)
        return pieces

    def _parted(self, at: int, separator: str) -> tuple[Traced, Traced, Traced]:
        end = at + len(separator)
        return self._cut(0, at), self._cut(at, end), self._cut(end, len(self))

    def partition(self, sep: str) -> tuple[str, str, str]:
        before, _, _ = str.partition(self, sep)
        return (self, EMPTY, EMPTY) if len(before) == len(self) else self._parted(len(before), sep)

    def rpartition(self, sep: str) -> tuple[str, str, str]:
        _, _, after = str.rpartition(self, sep)
        return (EMPTY, EMPTY, self) if len(after) == len(self) else self._parted(len(self) - len(after) - len(sep), sep)

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> Traced:
        check_characters(len(self) + len(new) * str.count(self, old))
        text = str.replace(self, old, new, count)
        if text == plain(self):  # nothing to replace, or by itself: its characters are where they were
            return self
        if old:
            pieces = self.split(old, count)
        else:
            limit = len(self) + 1 if index(count) < 0 else min(index(count), len(self) + 1)
            cut = max(limit - 1, 0)
            pieces = [EMPTY, *self._cut(0, cut), self._cut(cut, len(self))] if limit else [self]
        runs: list[Run] = []
        for number, piece in enumerate(pieces):
            runs += (runs_of(new) if number else []) + runs_of(piece)
        return make(text, runs, type(self))

    def join(self, items: Iterable[str]) -> Traced:
        pieces = list(items)
        check_characters(len(self) * len(pieces) + sum(map(len, pieces)))
        runs: list[Run] = []
        text = str.join(self, pieces)
        for number, piece in enumerate(pieces):
            runs += (self._runs if number else []) + runs_of(piece)
        return make(text, runs, type(self))

    # -- characters changed in place --------------------------------------------------------------------------

    def _mapped(self, text: str, lengths: list[int]) -> Traced:
        """``text`` is made of one piece per character of this string; ``lengths`` are those of the pieces."""
        if len(text) == len(self) and all(length == 1 for length in lengths):
            return make(text, self._runs, type(self))
        runs: list[Run] = []
        for at, length in enumerate(lengths):
            _, origin, offset, mapping, owner = self._cut(at, at + 1)._runs[0]
            if length:
                runs.append((length, origin, offset, ESCAPED if mapping == EXACT and length > 1 else mapping, owner))
        return make(text, runs, type(self)) if covered(runs) == len(text) else derive(text, self)

    def _cased(self, text: str, *changes: Callable[[str], str]) -> Traced:
        """``text`` is this string with each character changed by one of ``changes``."""
        # Case mappings never shorten a character, so an unchanged length means one to one.
        if len(text) == len(self):
            return make(text, self._runs, type(self))
        lengths: list[int] = []
        at = 0
        for character in plain(self):
            changed = [change(character) for change in changes]
            # A final sigma becomes another letter than sigma alone does, of the same length.
            lengths.append(len(next((c for c in changed if text.startswith(c, at)), changed[0])))
            at += lengths[-1]
        return self._mapped(text, lengths)

    def lower(self) -> Traced:
        return self._cased(str.lower(self), str.lower)

    def upper(self) -> Traced:
        return self._cased(str.upper(self), str.upper)

    def swapcase(self) -> Traced:
        return self._cased(str.swapcase(self), str.swapcase)

    def casefold(self) -> Traced:
        return self._cased(str.casefold(self), str.casefold)

    def title(self) -> Traced:
        return self._cased(str.title(self), str.title, str.lower)

    def capitalize(self) -> Traced:
        return self._cased(str.capitalize(self), str.title, str.lower)

    def translate(self, table: Any) -> Traced:
        if isinstance(table, dict):
            check_characters(len(self) * max((len(v) for v in table.values() if isinstance(v, str)), default=1))
        return self._mapped(str.translate(self, table), [len(str.translate(c, table)) for c in plain(self)])

    def expandtabs(self, tabsize: SupportsIndex = 8) -> Traced:
        check_items(index(tabsize))
        check_characters(len(self) + str.count(self, "\t") * index(tabsize))
        text = str.expandtabs(self, tabsize)
        lengths, column, size = [], 0, index(tabsize)
        for character in plain(self):
            width = (size - column % size if size > 0 else 0) if character == "\t" else 1
            column = 0 if character in "\r\n" else column + width
            lengths.append(width)
        return self._mapped(text, lengths)

    # -- padding ----------------------------------------------------------------------------------------------

    def _padded(self, text: str, left: int) -> Traced:
        return concat([literal(text[:left]), self, literal(text[left + len(self) :])], type(self))

    def center(self, width: SupportsIndex, fillchar: str = " ") -> Traced:
        check_items(index(width))
        text = str.center(self, width, fillchar)
        padding = len(text) - len(self)
        # CPython puts the odd fill character on the left when the width is odd too.
        return self._padded(text, padding // 2 + (padding & index(width) & 1))

    def ljust(self, width: SupportsIndex, fillchar: str = " ") -> Traced:
        check_items(index(width))
        return self._padded(str.ljust(self, width, fillchar), 0)

    def rjust(self, width: SupportsIndex, fillchar: str = " ") -> Traced:
        check_items(index(width))
        text = str.rjust(self, width, fillchar)
        return self._padded(text, len(text) - len(self))

    def zfill(self, width: SupportsIndex) -> Traced:
        check_items(index(width))
        zeros = literal("0" * max(index(width) - len(self), 0))
        sign = 1 if str.startswith(self, ("+", "-")) else 0
        return concat([self._cut(0, sign), zeros, self._cut(sign, len(self))], type(self))


def make(text: str, runs: list[Run], cls: type[Traced] = Traced) -> Traced:
    """A traced string of ``cls`` from text and runs that cover it."""
    made = _new(cls, text)
    made._runs = runs
    return made


EMPTY = make("", [])


def plain(text: str) -> str:
    """The bare ``str`` of a string of any class."""
    return str.__str__(text)


def runs_of(text: str) -> list[Run]:
    """The runs of any string; those of an untraced one are of unknown origin."""
    if isinstance(text, Traced):
        return text._runs
    return [(len(text), UNKNOWN, -1, DERIVED, NOBODY)] if text else []


def covered(runs: Iterable[Run]) -> int:
    """How many characters the runs cover."""
    return sum(run[0] for run in runs)


def literal(text: str) -> Traced:
    """Text written by the template itself."""
    return make(text, [(len(text), TEMPLATE, -1, DERIVED, NOBODY)] if text else [])


def concat(chunks: Iterable[str], cls: type[Traced] = Traced) -> Traced:
    """All chunks, one after the other."""
    pieces = list(chunks)
    check_characters(sum(map(len, pieces)))
    runs: list[Run] = []
    for piece in pieces:
        runs += runs_of(piece)
    return make("".join(pieces), runs, cls)


class Source(str):
    """No text: the bare string that follows it among the output is the whole value at the path ``_place``, or its beginning."""

    __slots__ = ("_place",)
    _place: Origin


def source_of(place: Origin) -> Source:
    """The mark for the value at a path."""
    made = _new(Source)
    made._place = place
    return made


def common_origin(origins: Iterable[Origin]) -> Origin:
    """Who wrote something made of all these: the one origin, or the part of a path that all of them share inside one value.

    Template text mixed with data, or data of two messages, has no single writer: unknown.
    """
    distinct = set(origins)
    if not distinct:
        return TEMPLATE
    if UNKNOWN in distinct or (TEMPLATE in distinct and len(distinct) > 1):
        return UNKNOWN
    first, *others = distinct
    if not others:
        return first
    shared = 0
    while all(len(o) > shared and len(first) > shared and o[shared] == first[shared] for o in others):
        shared += 1
    enough = {"messages": 3}.get(first[0], 1)
    return first[:shared] if shared >= enough else UNKNOWN


def derive(text: str, *sources: str) -> Traced:
    """``text`` was made of the sources in a way that does not map to single characters."""
    origin = common_origin(run[1] for source in sources for run in runs_of(source))
    return make(text, [(len(text), origin, -1, DERIVED, NOBODY)] if text else [])
