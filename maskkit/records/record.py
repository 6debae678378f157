"""One row of data: what a record is, how a row becomes one, and the key by which equal rows are known."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from typing import Any, Literal

from maskkit.errors import DataError
from maskkit.records.attribution import given_key
from maskkit.records.given import GivenTokens, given_tokens
from maskkit.records.messages import as_list, checked_messages, short
from maskkit.records.prepared import MadeWith

Form = Literal["messages", "completion", "text", "ids"]

_FORMS = "{'messages': [...]}, {'prompt': ..., 'completion': ...}, {'text': ...} or {'input_ids': [...], 'labels': [...]}"
_DIALECTS = {
    "conversations": "ShareGPT: write it as 'messages' with the keys 'role' and 'content' ('human' is 'user', 'gpt' is 'assistant')",
    "instruction": "instruction data (Alpaca): write it as {'prompt': instruction and input, 'completion': output}",
    "chosen": "preference pairs, which are not trained on: write the chosen reply as 'messages'",
}


@dataclass(frozen=True, slots=True)
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
    """Chat messages as transformers takes them; keys whose value is None are left out."""
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The row's ``chat_template_kwargs``, such as ``{"enable_thinking": False}``."""
    prompt: str = ""
    completion: str = ""
    text: str = ""
    tokens: GivenTokens | None = None
    """Of a row that is tokens already."""
    made_with: MadeWith | None = None
    """What its tokens were made with, where a manifest beside its file says it."""

    @property
    def attributed(self) -> bool:
        """Does the record say who wrote its tokens, or are they made of text that does? False for tokens with nothing but a mask."""
        return self.tokens is None or (self.tokens.attribution is not None and self.tokens.attribution.generated is not None)


def to_record(row: Record | Mapping[str, Any], source: str = "row") -> Record:
    """The record of a row; a record stays as it is.

    The first of these decides the form: ``messages`` (or ``conversations`` that hold such messages), ``prompt`` and ``completion``,
    ``text``, ``input_ids`` with the mask that another tool gave them. Other fields of the row are left alone. A prompt and a completion
    that are lists of messages are joined to one conversation.

    Raises DataError, beginning with ``source`` and the field, for a row of unknown form or a field of the wrong type.
    """
    if isinstance(row, Record):
        return row
    if not isinstance(row, Mapping):
        raise DataError(f"{source}: the row is {short(row)}, expected an object with fields: {_FORMS}")
    given = {name: value for name, value in row.items() if value is not None}
    if "messages" in given:
        return _chat(given, checked_messages(given["messages"], source), source, row)
    if _holds_messages(given.get("conversations")):
        return _chat(given, checked_messages(given["conversations"], source, "conversations"), source, row)
    if "prompt" in given and "completion" in given:
        return _completion(given, source, row)
    if "text" in given:
        text = _string(given["text"], source, "text")
        return Record("text", source, _key(source, {"text": text}), row, text=text)
    if "input_ids" in given:
        tokens = given_tokens(given, source)
        key = given_key(given) if tokens.attribution else None
        key = key or _key(source, {"input_ids": tokens.ids, "weights": tokens.weights})
        return Record("ids", source, key, row, tokens=tokens)
    raise DataError(f"{source}: {_unknown_form(given)}")


def of_file(record: Record, made: MadeWith | None) -> Record:
    """The record of a row of a file, which was made with ``made``."""
    return record if made is None or record.tokens is None else replace(record, made_with=made)


def _chat(given: Mapping[str, Any], messages: tuple[dict[str, Any], ...], source: str, row: Mapping[str, Any]) -> Record:
    tools, documents = (_objects(given.get(name), source, name) for name in ("tools", "documents"))
    kwargs = given.get("chat_template_kwargs", {})
    if not isinstance(kwargs, Mapping):
        raise DataError(f"{source}: chat_template_kwargs is {short(kwargs)}, expected an object")
    key = _key(source, {"messages": messages, "tools": tools, "documents": documents, "chat_template_kwargs": dict(kwargs)})
    return Record("messages", source, key, row, messages, tools, documents, dict(kwargs))


def _completion(given: Mapping[str, Any], source: str, row: Mapping[str, Any]) -> Record:
    prompt, completion = given["prompt"], given["completion"]
    if as_list(prompt) is not None and as_list(completion) is not None:
        before, after = checked_messages(prompt, source, "prompt"), checked_messages(completion, source, "completion")
        for number, message in enumerate(before):
            if message["role"] == "assistant":
                raise DataError(
                    f"{source}: prompt[{number}] is an assistant message, which would be trained like the completion's: "
                    "write the row as 'messages' and choose the turn to train by strategy (last_turn: true)"
                )
        return _chat(given, before + after, source, row)
    prompt, completion = _string(prompt, source, "prompt"), _string(completion, source, "completion")
    key = _key(source, {"prompt": prompt, "completion": completion})
    return Record("completion", source, key, row, prompt=prompt, completion=completion)


def _holds_messages(value: Any) -> bool:
    items = as_list(value)
    return bool(items) and all(isinstance(item, Mapping) and "role" in item and "content" in item for item in items or ())


def _objects(value: Any, source: str, name: str) -> list[dict[str, Any]] | None:
    """Tools or documents: a list of objects, which tables often hold as JSON text. An empty list is none."""
    where, expected = f"{source}: {name}", "expected a list of objects, or JSON text of one"
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except ValueError:
            raise DataError(f"{where} is {short(value)}, {expected}") from None
    items = as_list(value)
    if items is None:
        raise DataError(f"{where} is {short(value)}, {expected}")
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise DataError(f"{where}[{number}] is {short(item)}, expected an object")
    return [dict(item) for item in items] or None


def _string(value: Any, source: str, name: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{source}: {name} is {short(value)}, expected text")
    return value


def _unknown_form(given: Mapping[str, Any]) -> str:
    dialect = next((text for name, text in _DIALECTS.items() if name in given), None)
    found = f"found the fields {', '.join(map(repr, given)) or '(none)'}"
    if dialect:
        return f"{found}; the row looks like {dialect}"
    missing = {"prompt": "completion", "completion": "prompt"}
    half = next((f"; {name!r} is there, {missing[name]!r} is not" for name in missing if name in given), "")
    near = next(
        (
            close[0]
            for name in given
            if (close := difflib.get_close_matches(str(name), ("messages", "prompt", "completion", "text"), n=1, cutoff=0.7))
        ),
        None,
    )
    return f"{found}, expected {_FORMS}{half or (f'. Did you mean {near!r}?' if near else ': rename the fields')}"


def _key(source: str, content: dict[str, Any]) -> str:
    """Hash of the content. Raises DataError for what is not text or JSON, so that a key never depends on where an object lies in memory."""
    try:
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()
    except UnicodeEncodeError:
        raise DataError(f"{source}: {_half_character('', content)}") from None
    except TypeError as error:
        raise DataError(f"{source}: {error}") from None
    return hashlib.sha256(canonical).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """JSON for what tables hold beside JSON's own types."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (date, time, Decimal)):
        return str(value)
    if type(value).__module__ == "numpy":
        return value.tolist()
    raise TypeError(f"a value is of type {type(value).__name__}, expected text, numbers, lists and objects")


def _half_character(path: str, value: Any) -> str:
    """Where in the content a lone surrogate stands; "" if nowhere."""
    if isinstance(value, str):
        at = next((i for i, c in enumerate(value) if "\ud800" <= c <= "\udfff"), None)
        return "" if at is None else f"{path} has half a character (\\u{ord(value[at]):04x}) at position {at}, expected valid Unicode"
    if isinstance(value, Mapping):
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
        items += [(f"a key of {path or 'the row'}", key) for key in value]
    else:
        items = [(f"{path}[{i}]", item) for i, item in enumerate(value)] if isinstance(value, (list, tuple)) else []
    return next((found for name, item in items if (found := _half_character(name, item))), "")
