"""Rows of data become records: chat messages, a prompt and its completion, plain text, or tokens that another tool has made.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}], "tools": [...]}
    {"prompt": "...", "completion": "..."}          also as two lists of messages
    {"text": "..."}
    {"input_ids": [...], "labels": [...]}           also another tool's mask

Rows come from JSONL files (also ``.gz``), JSON lists, Parquet files, from folders of them and patterns (`maskkit.records.sources`), or from
any Python iterable. Every error names file, row and field:
``data.jsonl:7: messages[1].content is 3, expected text or a list of parts``. Lines of a file are counted from 1, rows from 0.
"""

from __future__ import annotations

from maskkit.records.files import Unreadable, read_records, read_rows, read_values, readable, records_of
from maskkit.records.messages import REASONING_KEYS, reasoning_of, without_nulls
from maskkit.records.reasoning import with_inline_reasoning
from maskkit.records.record import Form, Record, to_record
from maskkit.records.sources import BUNDLED, data_files

__all__ = [
    "BUNDLED",
    "REASONING_KEYS",
    "Form",
    "Record",
    "Unreadable",
    "data_files",
    "read_records",
    "read_rows",
    "read_values",
    "readable",
    "reasoning_of",
    "records_of",
    "to_record",
    "with_inline_reasoning",
    "without_nulls",
]
