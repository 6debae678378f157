"""Keys and columns that look as if they said what to train, and are no mark that is read: misspelt, or in the wrong place."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from maskkit.records.given import BOTH, RUNS
from maskkit.records.marks import INVERTED, KNOWN, MARKS, holders
from maskkit.records.messages import as_list
from maskkit.records.record import Record

IGNORED_LABEL = -100
"""The label of a token that is not trained."""

_NAMED = 3


class NearMark(NamedTuple):
    """A key that looks like a mark."""

    path: str
    """Where it stands: ``messages[2].weigth``, or the name of a column of the row."""
    meant: str
    """The mark that is nearest to it."""


def near_marks(record: Record, read: Container[str] = ()) -> list[NearMark]:
    """All of a record. read: columns of the row that the strategy reads, which say what they are meant to.

    Beside messages or text only lists of numbers count, as for each message or token: one number for the row is a quality or a score.
    """
    found = [NearMark(f"{where}.{key}", meant) for where, holder in holders(record) for key in holder if (meant := meant_by(str(key)))]
    return found + list(_columns(record, read))


def said_of(near: list[NearMark]) -> str:
    """What to say of them in one line: the first three, and what they seem to mean."""
    meant = ", ".join(dict.fromkeys(repr(mark.meant) for mark in near))
    beside = "" if any("." in mark.path for mark in near) else " of a message"
    said = "looks like a weight, and is none that is read" if len(near) == 1 else "look like weights, and none of them is read"
    return f"{', '.join(mark.path for mark in near[:_NAMED])} {said}: did you mean {meant}{beside}?"


@lru_cache(maxsize=1 << 10)
def meant_by(key: str) -> str:
    """The mark that a key seems to mean; empty if it is one, or none is near."""
    if key in KNOWN:
        return ""
    words = [word for word in _WORD_ENDS.sub("_", key).lower().split("_") if word]
    squashed = "".join(words)
    misspelt = _misspelt_mark(squashed)
    if misspelt:
        return misspelt
    if (
        any(word not in _WORDS and _misspelt_mark(word) for word in words)
        or _of_mark_words(words)
        or (len(words) == 1 and _JOINED.fullmatch(squashed))
    ):
        return _nearest(squashed)
    return ""


# -- columns of the row -----------------------------------------------------------------------------------------


def _columns(record: Record, read: Container[str]) -> Iterator[NearMark]:
    if record.form == "ids":
        return
    for name, value in record.row.items():
        key = str(name)
        if name in read or not (meant := _meant_by_column(key)):
            continue
        numbers = as_list(value)
        if numbers and all(isinstance(number, (bool, int, float)) for number in numbers) and _is_mask(key, numbers, record):
            yield NearMark(key, meant)


@lru_cache(maxsize=1 << 10)
def _meant_by_column(name: str) -> str:
    words = set(name.lower().split("_"))
    if name == "labels" or name in BOTH:
        return "train"
    if name in RUNS:
        return "weight"
    return "" if words & _OTHER_MASKS else name if name in MARKS else meant_by(name)


def _is_mask(name: str, numbers: list[Any], record: Record) -> bool:
    """Do the numbers say what is trained? Labels may be those of a classifier, and losses those of another model."""
    tokenized = record.row.get("input_ids") is not None
    if name == "labels":
        return tokenized or IGNORED_LABEL in numbers or len(numbers) == len(record.messages)
    named = any(word in name.lower() for word in ("weight", "mask"))
    return named or tokenized or all(number in (0, 1) for number in numbers)


_OTHER_MASKS = frozenset(("attention", "pad", "padding", "special", "position", "input"))
"""Of columns that are masks for the model, not for its training."""

# -- likeness ---------------------------------------------------------------------------------------------------

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_SQUASHED = {mark: mark.replace("_", "") for mark in sorted(KNOWN)}
_WORDS = frozenset(
    ("weight", "weights", "mask", "masks", "masked", "loss", "losses", "train", "trained", "training", "trainable", "untrained")
)
_JOINED = re.compile(
    r"(?:is|no|not|do|dont|should|to|token|step|sample|scale|scaled)*(?:loss|weight|mask|train)(?:ed|ing|able|s|es)?"
    r"(?:token|step|scale|loss|weight|mask|train|ed|ing|able|s|es)*"
)
"""The words of marks written as one: ``lossmask``, ``notrain``."""

_ORIGINS = frozenset(("set", "sets", "split", "data", "dataset", "id", "source", "date", "step", "run", "example", "file", "name"))
"""Words behind ``training_`` that say where a row comes from."""

_SHORTEST, _LONG = 4, 6
"""Letters of a word that may be a misspelling, and of a mark in which a letter may be another one: *lose* and *trait* are no marks."""

_SWAPPED, _MISTYPED = 2, 1
"""So many slips, of a word with the same letters but for one, and of any other."""

_ORDINARY = frozenset(("lossy", "marked", "mashed", "trailing", "tran", "wright"))
"""Words of their own, however near to a mark."""


def _of_mark_words(words: list[str]) -> bool:
    named = [number for number, word in enumerate(words) if word in _WORDS]
    return bool(named) and not all(words[n].startswith("train") and words[n + 1 : n + 2] and words[n + 1] in _ORIGINS for n in named)


def _misspelt_mark(word: str) -> str:
    """The mark that a word is, but for case, separators and letters left out, doubled, swapped or mistyped; empty if none.

    One such letter, or two of a word that has (nearly) all of its letters. The first letter stands, and ordinary words are none:
    *height*, *eight*, *task*, *marked*.
    """
    near = [(edits, mark) for mark, letters in _SQUASHED.items() if (edits := _slips(word, letters)) is not None]
    return min(near)[1] if near else ""


def _slips(word: str, mark: str) -> int | None:
    """Letters in which a word is a misspelling of a mark; None if it is a word of its own."""
    if word == mark:
        return 0
    if word in _ORDINARY or len(word) < _SHORTEST or word[:1] != mark[:1] or abs(len(word) - len(mark)) > 1:
        return None
    have, want = Counter(word), Counter(mark)
    same_letters = sum(((have - want) + (want - have)).values()) <= 1
    edits = _edits(word, mark)
    return edits if edits <= (_SWAPPED if same_letters else _MISTYPED if len(mark) >= _LONG else 0) else None


def _edits(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour: optimal string alignment distance."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], last[j - 2] + 1)
    return row[-1]


def _nearest(key: str) -> str:
    """The mark most like a key that has the words of one. Never one that says the opposite."""
    marks = {letters: mark for mark, letters in _SQUASHED.items() if mark in MARKS and mark not in INVERTED}
    return marks[difflib.get_close_matches(key, marks, n=1, cutoff=0.0)[0]]
