"""Rows of data become records: chat messages, a prompt and its completion, or plain text.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}], "tools": [...]}
    {"prompt": "...", "completion": "..."}
    {"text": "..."}

Rows come from JSONL (also ``.gz``), JSON lists, Parquet files or any Python iterable. Every error names file, row and field.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from maskkit.errors import DataError, suggest

Form = Literal["messages", "completion", "text"]
Data = str | Path | Iterable[Mapping[str, Any]]

BUNDLED = "quickstart"
"""Name of the data set that comes with the package."""

REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Keys of a message that hold its reasoning, in the order in which transformers looks for them."""

_FORMS = "{'messages': [...]}, {'prompt': ..., 'completion': ...} or {'text': ...}"
_DIALECTS = {
    "conversations": "ShareGPT: rename it to 'messages' with the keys 'role' and 'content'",
    "instruction": "Alpaca: write it as {'prompt': instruction and input, 'completion': output}",
    "input_ids": "tokenized data, which needs no chat template: write the original rows instead",
    "chosen": "preference pairs, which are not supported",
}


@dataclass(frozen=True)
class Record:
    """One row of a data set."""

    form: Form
    source: str
    """Where it comes from, for errors: ``data/train.jsonl:7`` or ``row 7``."""
    key: str
    """Hash of the content: the same row has the same key wherever it stands (16 hexadecimal digits)."""
    row: Mapping[str, Any]
    """The row as it was given."""
    messages: tuple[dict[str, Any], ...] = ()
    """Chat messages as transformers takes them; keys whose value is None (absent fields of a table) are left out."""
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The row's ``chat_template_kwargs``, such as ``{"enable_thinking": False}``."""
    prompt: str = ""
    completion: str = ""
    text: str = ""


def to_record(row: Record | Mapping[str, Any], source: str = "row") -> Record:
    """The record of a row; a record stays as it is.

    Raises DataError, beginning with ``source`` and the field, for a row of unknown form or a field of the wrong type.
    """
    if isinstance(row, Record):
        return row
    if not isinstance(row, Mapping):
        raise DataError(f"{source}: expected an object with fields, found {_short(row)}")
    given = {name: value for name, value in row.items() if value is not None}
    if "messages" in given:
        return _chat(given, given["messages"], source, row)
    if "prompt" in given and "completion" in given:
        return _completion(given, source, row)
    if "text" in given:
        return Record("text", source, _key(text=given["text"]), row, text=_string(given["text"], source, "text"))
    raise DataError(f"{source}: {_unknown_form(given)}")


def read_records(path: str | Path) -> Iterator[Record]:
    """The records of a file, one after another: ``.jsonl`` or ``.ndjson`` (also ``.gz``), ``.json`` (a list of rows), ``.parquet``.

    Raises DataError for a file that is missing, of another type, or not readable; for a bad row it names file, line or row, and field.
    """
    path = Path(path)
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        raise DataError(f"there is no file {path}.{suggest(path.name, beside) if beside else ''}")
    name = path.name.removesuffix(".gz")
    for endings, reader in _READERS.items():
        if name.endswith(endings):
            return reader(path)
    raise DataError(f"{path}: unknown type of file, expected .jsonl, .json or .parquet (.gz is fine for the first two)")


def records_of(data: Data) -> Iterator[Record]:
    """Records of a path, of the bundled data set (by the name ``quickstart``, where no file has it), or of an iterable of rows."""
    if isinstance(data, (str, Path)):
        if str(data) == BUNDLED and not Path(data).exists():
            from maskkit import embedded

            return (to_record(row, f"{BUNDLED}:{number}") for number, row in enumerate(embedded.quickstart_rows(), 1))
        return read_records(data)
    return (to_record(row, f"row {number}") for number, row in enumerate(data))


def reasoning_of(message: Mapping[str, Any]) -> str | None:
    """The reasoning of a message, under whichever key it stands."""
    return next((message[key] for key in REASONING_KEYS if isinstance(message.get(key), str)), None)


def with_inline_reasoning(record: Record) -> Record:
    """The record with each message's reasoning written at the head of its content: ``<think>\\n...\\n</think>\\n\\n``.

    For chat templates that have no place for reasoning. Kinds are told by the tags, so the text is still attributed as reasoning.
    Raises DataError for reasoning beside a content that is not text.
    """
    if not any(reasoning_of(message) for message in record.messages):
        return record
    messages = tuple(_inlined(message, f"{record.source}: messages[{i}]") for i, message in enumerate(record.messages))
    return replace(record, messages=messages, key=_key(messages=messages, tools=record.tools))


def _inlined(message: dict[str, Any], where: str) -> dict[str, Any]:
    reasoning = reasoning_of(message)
    if not reasoning:
        return message
    content = message.get("content", "")
    if not isinstance(content, str):
        raise DataError(f"{where}.content is {_short(content)}; reasoning can be written inline only before a text")
    rest = {key: value for key, value in message.items() if key not in REASONING_KEYS}
    return {**rest, "content": f"<think>\n{reasoning}\n</think>\n\n{content}"}


# -- forms ----------------------------------------------------------------------------------------------------


def _chat(given: Mapping[str, Any], messages: Any, source: str, row: Mapping[str, Any]) -> Record:
    checked = _messages(messages, source, "messages")
    tools, documents = (_objects(given.get(name), source, name) for name in ("tools", "documents"))
    kwargs = given.get("chat_template_kwargs", {})
    if not isinstance(kwargs, Mapping):
        raise DataError(f"{source}: chat_template_kwargs is {_short(kwargs)}, expected an object")
    kwargs = _without_none(kwargs)
    key = _key(messages=checked, tools=tools, documents=documents, kwargs=kwargs)
    return Record("messages", source, key, row, checked, tools, documents, kwargs)


def _completion(given: Mapping[str, Any], source: str, row: Mapping[str, Any]) -> Record:
    prompt, completion = given["prompt"], given["completion"]
    if isinstance(prompt, (list, tuple)) and isinstance(completion, (list, tuple)):
        if any(isinstance(message, Mapping) and message.get("role") == "assistant" for message in prompt):
            raise DataError(
                f"{source}: prompt holds assistant messages, which would be trained like the completion's: "
                "write the row as 'messages' and choose the turn to train by strategy (last_turn: true)"
            )
        return _chat(given, [*prompt, *completion], source, row)
    prompt, completion = _string(prompt, source, "prompt"), _string(completion, source, "completion")
    return Record("completion", source, _key(prompt=prompt, completion=completion), row, prompt=prompt, completion=completion)


def _messages(value: Any, source: str, name: str) -> tuple[dict[str, Any], ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise DataError(f"{source}: {name} is {_short(value)}, expected a list of messages")
    messages = tuple(_message(message, f"{source}: {name}[{i}]") for i, message in enumerate(value))
    if not messages:
        raise DataError(f"{source}: {name} is empty, expected at least one message")
    return messages


def _message(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is {_short(value)}, expected a message: {{'role': ..., 'content': ...}}")
    message: dict[str, Any] = _without_none(value)
    if not isinstance(message.get("role"), str):
        found = "missing" if "role" not in message else _short(message["role"])
        hint = "; 'from' and 'value' are the ShareGPT names of 'role' and 'content'" if "from" in message else ""
        raise DataError(f"{where}.role is {found}, expected a text such as 'user' or 'assistant'{hint}")
    _check_content(message, where)
    for key in REASONING_KEYS:
        if key in message and not isinstance(message[key], str):
            raise DataError(f"{where}.{key} is {_short(message[key])}, expected text")
    calls = message.get("tool_calls")
    if calls is not None and (not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls)):
        raise DataError(f"{where}.tool_calls is {_short(calls)}, expected a list of calls")
    return message


def _check_content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    if content is None:
        if message["role"] == "assistant" and (message.get("tool_calls") or reasoning_of(message)):
            return
        raise DataError(f"{where}.content is missing, expected text (only an assistant message with tool calls may have none)")
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise DataError(f"{where}.content[{number}] is {_short(part)}, expected a part: {{'type': 'text', 'text': ...}}")
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise DataError(f"{where}.content[{number}].text is {_short(part.get('text'))}, expected text")
    elif not isinstance(content, str):
        raise DataError(f"{where}.content is {_short(content)}, expected text or a list of parts")


def _objects(value: Any, source: str, name: str) -> list[dict[str, Any]] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError(f"{source}: {name} is {_short(value)}, expected a list of objects, or JSON text of one") from None
    if value is None:
        return None
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise DataError(f"{source}: {name} is {_short(value)}, expected a list of objects")
    objects = [_without_none(item) for item in value]
    for number, item in enumerate(objects):
        if not isinstance(item, dict):
            raise DataError(f"{source}: {name}[{number}] is {_short(item)}, expected an object")
    return objects or None


def _string(value: Any, source: str, name: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{source}: {name} is {_short(value)}, expected text")
    return value


def _without_none(value: Any) -> Any:
    """Plain dicts and lists without the keys that a table fills with None."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ndarray":
        return [_without_none(item) for item in value]
    return value


def _unknown_form(given: Mapping[str, Any]) -> str:
    dialect = next((text for name, text in _DIALECTS.items() if name in given), None)
    if dialect:
        return f"the row looks like {dialect}"
    names = ("messages", "prompt", "completion", "text")
    return f"found the fields {', '.join(map(repr, given)) or '(none)'}, expected {_FORMS}.{suggest(next(iter(given), ''), names)}"


def _key(**content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _short(value: Any, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"


# -- files ----------------------------------------------------------------------------------------------------


def _read_jsonl(path: Path) -> Iterator[Record]:
    with _open(path) as lines:
        number = 0
        while True:
            number += 1
            try:
                line = next(lines, None)
            except UnicodeDecodeError as error:
                raise DataError(f"{path}:{number}: not UTF-8: {error.reason} at byte {error.start}") from None
            if line is None:
                return
            if line.strip():
                yield to_record(_json(line, f"{path}:{number}"), f"{path}:{number}")


def _read_json(path: Path) -> Iterator[Record]:
    with _open(path) as file:
        rows = _json(file.read(), str(path))
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a JSON list of rows, found {_short(rows)}; one row a line is .jsonl")
    for number, row in enumerate(rows):
        yield to_record(row, f"{path}: row {number}")


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    yield to_record(row, f"{path}: row {number}")
                    number += 1
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from None


_READERS = {(".jsonl", ".ndjson"): _read_jsonl, (".json",): _read_json, (".parquet",): _read_parquet}


def _open(path: Path) -> Any:
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{where}: not JSON: {error.msg} at {place}: {_short(text[max(error.pos - 20, 0) : error.pos + 20])}") from None
