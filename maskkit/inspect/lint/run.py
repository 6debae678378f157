"""Lint as a library: rows of data under a strategy, examples, or ids and labels of any trainer, to one report.

report = maskkit.lint(rows, tokenizer, strategy="assistant-only")
report = maskkit.lint(dataset, tokenizer)                                   # rows with input_ids and labels, or loss_weights
for finding in report.errors:
    print(finding.code.number, finding.code.name, finding.rows, finding.places[0].message)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskkit.checks import Linter, LintReport, row_of_example
from maskkit.checks.linter import SHOWN
from maskkit.errors import ConfigError, DataError, MaskkitError, StrategyError, TemplateError
from maskkit.findings import Finding, unlogged
from maskkit.inspect.lint.given import given_rows, is_given, rows_of
from maskkit.inspect.lint.recover import Recoverer
from maskkit.masker import Example, Masker
from maskkit.records import Record, Unreadable, read_rows, records_of, to_record, without_nulls

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def lint(
    examples: str | Path | Iterable[Any] | Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    *,
    strategy: Any = "assistant-only",
    max_length: int | None = None,
    truncation: str = "right",
    history: str = "as-rendered",
    control_tokens: str = "escape",
    template_kwargs: Mapping[str, Any] | None = None,
    stop_token_ids: Iterable[int] = (),
    reasoning_tags: Iterable[Sequence[str]] = (),
    held_out: str | Path | Iterable[Any] = (),
    sample: int | None = None,
    ignore: Iterable[str] = (),
    error: Iterable[str] = (),
    first: int = SHOWN,
) -> LintReport:
    """Look for what is wrong with data and masks.

    Args:
        examples: what to look at. Rows of data or a file of them, which are weighed by ``strategy``; `Example`s; or rows that have a mask
            already, from whatever trainer: ``(input_ids, labels)``, ``(input_ids, loss_weights)``, or mappings with ``input_ids`` and
            ``labels`` or ``loss_weights``, and perhaps ``attention_mask``, ``position_ids`` and ``messages``; batches of them too.
        tokenizer: with which the ids were made, or are to be made.
        strategy, truncation, history, control_tokens, reasoning_tags: of rows of data, as `Masker` takes them.
        max_length: most tokens of a row; given masks that are longer are reported.
        template_kwargs, stop_token_ids: of the chat template and the generation config.
        held_out: rows of data that training must not contain.
        sample: look at so many rows at most, evenly spread; None for all.
        ignore, error: codes that are left out, and that count as errors, by name or number.
        first: so many rows of each finding are named, the first ones.

    A row that cannot be read or encoded, or whose mask is none, is a finding (``row-refused``). Raises ConfigError for an option that is
    wrong, DataError for a file that cannot be read and where there is no row, TokenizerError for a tokenizer without offsets.
    """
    if first < 1:
        raise ConfigError(f"first is {first}, expected at least 1")
    stops = frozenset(stop_token_ids)
    masker = Masker(
        tokenizer,
        strategy,
        max_length=max_length,
        truncation="right" if truncation == "error" else truncation,
        history=history,
        control_tokens=control_tokens,
        template_kwargs=template_kwargs,
        stop_token_ids=stops,
        reasoning_tags=reasoning_tags,
    )
    linter = Linter(tokenizer, stop_ids=stops, ignore=ignore, error=error, max_length=max_length, first=first)
    recover = Recoverer(tokenizer, template_kwargs, stops)
    known = {record.key for record in records_of(held_out)}
    rows = _sampled(_rows(examples), sample)
    if not rows:
        raise DataError("there is no row to look at")
    with unlogged():
        for number, row in rows:
            _look(row, number, linter, masker, recover, known)
    return linter.report()


def _rows(examples: Any) -> Iterator[tuple[str, Any]]:
    """Each row, and what to call it."""
    if isinstance(examples, (str, Path)):
        return ((row.source, row) for row in read_rows(examples))
    rows = rows_of(examples)
    if type(examples).__module__.partition(".")[0] == "datasets":  # its tables fill absent keys with None
        rows = (row if is_given(row) else without_nulls(row) for row in rows)
    return ((f"row {number}", row) for number, row in enumerate(rows))


def _sampled(rows: Iterable[tuple[str, Any]], sample: int | None) -> list[tuple[str, Any]]:
    """So many of the rows, evenly spread."""
    found = list(rows)
    if sample is None or sample >= len(found):
        return found
    if sample < 1:
        raise ConfigError(f"sample is {sample}, expected at least 1")
    return [found[index * len(found) // sample] for index in range(sample)]


def _look(row: Any, source: str, linter: Linter, masker: Masker, recover: Recoverer, known: set[str]) -> None:
    """A row under all checks; what makes it unusable is a finding as well, so that all such rows are told at once."""
    if isinstance(row, tuple) and len(row) == 2 and isinstance(row[0], str) and is_given(row[1]):
        source, row = row
    source = row.source if isinstance(row, (Record, Unreadable)) else source
    try:
        if isinstance(row, Unreadable):
            raise row.error
        if isinstance(row, Example):
            linter.add(row_of_example(row, masker.strategy))
            linter.note_key(row.tokens.row_key + str(row.tokens.reply), row.tokens.record.source)
        elif is_given(row) and not isinstance(row, Record):
            for given in given_rows(row, source, recover.pad_id):
                linter.add(recover(given))
                linter.note_key(given.key, given.source)
        else:
            _look_at_data(to_record(row, source), linter, masker, known)
    except (TemplateError, DataError, StrategyError, ConfigError) as error:
        other_way = "; maskkit lint --format labels looks at that mask" if isinstance(row, Record) and row.form == "ids" else ""
        linter.refuse(source, [Finding("row-refused", _without_source(error, source) + other_way)])


def _look_at_data(record: Record, linter: Linter, masker: Masker, known: set[str]) -> None:
    """A row of data, weighed by the strategy."""
    tables, left_out = masker.tables(record)
    examples = [masker.example(*table) for table in tables]
    if left_out:
        linter.refuse(record.source, left_out)
    for example in examples:
        linter.add(row_of_example(example, masker.strategy))
    replies = {example.tokens.reply for example in examples} if record.tokens else set()  # prepared rows may be replies of one row
    linter.note_key(record.key + "".join(map(str, sorted(replies))), record.source)
    if record.key in known:
        linter.note_overlap(record.source)


def _without_source(error: MaskkitError, source: str) -> str:
    return str(error).removeprefix(f"{source}: ").removeprefix(f"{source} is ")
