"""Runs the checks over rows and adds up what they say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskkit.checks import labels, mask, messages, text, weights
from maskkit.checks.report import KindTotal, LintFinding, LintReport, Place
from maskkit.checks.row import MaskedRow, Seen
from maskkit.checks.words import counted
from maskkit.findings import REGISTRY, SEVERITIES, Code, Finding, Severity, code_of
from maskkit.kinds import KINDS

SHOWN = 3
"""So many rows of each sort are named, unless somebody asks for more."""

NEGLIGIBLE = 0.01
"""A kind with less of all weight is hardly learnt."""

_BEFORE, _BEHIND = 24, 24


@dataclass
class _Sort:
    """All rows with one sort of finding so far."""

    rows: int = 0
    count: int = 0
    severity: Severity = "note"
    places: list[Place] = field(default_factory=list)
    last: str = ""
    """The row that was counted last: a row with several such findings is one row."""


class Linter:
    """Checks rows one after another.

    tokenizer: with which the ids were made. stop_ids: tokens that end a turn, beside its end of sequence. ignore, error: names or numbers
    of codes that are left out, and that count as errors; `error` wins. max_length: of the trainer that made a given mask. first: so many
    rows of each sort are named. Raises UnknownNameError for a code that does not exist.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        stop_ids: Iterable[int] = (),
        ignore: Iterable[str] = (),
        error: Iterable[str] = (),
        max_length: int | None = None,
        first: int = SHOWN,
    ) -> None:
        self.tokenizer = tokenizer
        eos = tokenizer.eos_token_id
        self._stop_ids = frozenset({*stop_ids} | ({eos} if eos is not None else set()))
        self._error = {code_of(name).name for name in error}
        self._ignored = {code_of(name).name for name in ignore} - self._error
        self._max_length = max_length
        self._first = first
        self._sorts: dict[str, _Sort] = {}
        self._keys: dict[str, str] = {}
        self._totals: dict[str, tuple[int, int, float]] = {}
        self._rows = 0

    def add(self, row: MaskedRow) -> None:
        """Check a row."""
        self._rows += 1
        seen = [Seen(finding.code, finding.message, finding.count) for finding in row.findings]
        seen += self._checked(row)
        for each in seen:
            self._note(each, row)
        self._add_up(labels.aligned(row))

    def refuse(self, source: str, findings: Iterable[Finding]) -> None:
        """Note why a record, or a reply of it, makes no row."""
        self._rows += 1
        for finding in findings:
            self._count(Seen(finding.code, finding.message, finding.count), Place(source, finding.message), chosen=True)

    def note_overlap(self, source: str) -> None:
        """Note that a training row is also held out."""
        self._count(Seen("held-out-overlap", "also held out"), Place(source, "also held out"), chosen=True)

    def note_key(self, key: str, source: str) -> None:
        """Note a row's content, by its key: the same key again is the same row again."""
        first = self._keys.setdefault(key, source)
        if first != source:
            said = f"the same as {first}"
            self._count(Seen("duplicate-rows", said), Place(source, said), chosen=True)

    def report(self) -> LintReport:
        """All that was found, worst first."""
        self._note_negligible()
        found = [self._finding(REGISTRY[name], sort) for name, sort in self._sorts.items()]
        found.sort(key=lambda finding: (SEVERITIES.index(finding.severity), finding.code.number))
        kinds = {kind: KindTotal(*self._totals[kind]) for kind in KINDS if kind in self._totals}
        return LintReport(tuple(found), kinds, self._rows)

    # -- one row ----------------------------------------------------------------------------------------------

    def _checked(self, row: MaskedRow) -> Iterator[Seen]:
        yield from labels.labels_of_ids(row)
        row = labels.aligned(row)
        yield from weights.odd_weights(row)
        yield from mask.trains_nothing(row)
        yield from mask.split_characters(row)
        yield from text.doubled_bos(row, self.tokenizer)
        yield from text.unknown_tokens(row, self.tokenizer)
        yield from text.cut_character(row, self.tokenizer)
        yield from self._over_length(row)
        if row.attributed:
            yield from mask.prompt_trained(row)
            yield from mask.template_trained(row)
            yield from mask.stops(row, self._stop_ids)
            yield from mask.replies(row)
            yield from mask.unfinished(row)
            yield from labels.moved_mask(row)
            yield from text.reply_texts(row, self.tokenizer)
        yield from messages.messages(row)

    def _over_length(self, row: MaskedRow) -> Iterator[Seen]:
        if self._max_length is not None and not row.chosen and len(row.tokens) > self._max_length:
            yield Seen("over-length", f"{len(row.tokens)} tokens, max_length is {self._max_length}", len(row.tokens))

    def _note(self, seen: Seen, row: MaskedRow) -> None:
        self._count(seen, Place(row.source, seen.message, excerpt(row, seen.token)), chosen=row.chosen)

    def _count(self, seen: Seen, place: Place, *, chosen: bool) -> None:
        if seen.code in self._ignored:
            return
        code = REGISTRY[seen.code]
        severity = seen.severity or (code.chosen if chosen and code.chosen else code.severity)
        sort = self._sorts.setdefault(seen.code, _Sort())
        sort.severity = _worse(sort.severity, severity)
        sort.rows += place.source != sort.last
        sort.last = place.source
        sort.count += seen.count
        if len(sort.places) < self._first:
            sort.places.append(place)

    # -- all rows ---------------------------------------------------------------------------------------------

    def _add_up(self, row: MaskedRow) -> None:
        codes = row.tokens.kind_codes
        finite = np.where(np.isfinite(row.weights) & row.trained, row.weights, 0.0)
        present = np.bincount(codes, minlength=len(KINDS))
        trained = np.bincount(codes[row.trained], minlength=len(KINDS))
        weight = np.bincount(codes, weights=finite, minlength=len(KINDS))
        for code in np.flatnonzero(present).tolist():
            before = self._totals.get(KINDS[code], (0, 0, 0.0))
            self._totals[KINDS[code]] = (before[0] + int(present[code]), before[1] + int(trained[code]), before[2] + float(weight[code]))

    def _note_negligible(self) -> None:
        total = math.fsum(abs(weight) for _, _, weight in self._totals.values())
        for kind, (_, trained, weight) in self._totals.items():
            if trained and total and kind != "stop" and abs(weight) < NEGLIGIBLE * total:
                said = f"{kind}: {counted(trained, 'token')} with {abs(weight) / total:.2%} of the weight"
                self._count(Seen("negligible-kind", said, trained), Place("all rows", said), chosen=True)

    def _finding(self, code: Code, sort: _Sort) -> LintFinding:
        severity = sort.severity
        if code.everywhere and sort.rows >= self._rows:
            severity = _worse(severity, code.everywhere)
        if code.name in self._error:
            severity = "error"
        return LintFinding(code, severity, sort.rows, sort.count, tuple(sort.places))


def excerpt(row: MaskedRow, token: int | None) -> str:
    """The text around a token, the token in ⟦ ⟧."""
    if token is None:
        return ""
    tokens = row.tokens
    start, end = int(tokens.char_start[token]), int(tokens.char_end[token])
    before, behind = tokens.text[max(start - _BEFORE, 0) : start], tokens.text[end : end + _BEHIND]
    return f"{'…' if start > _BEFORE else ''}{before}⟦{tokens.text[start:end]}⟧{behind}{'…' if end + _BEHIND < len(tokens.text) else ''}"


def _worse(one: Severity, other: Severity) -> Severity:
    return min(one, other, key=SEVERITIES.index)
