"""What pydantic finds wrong with a config, or with the options of a strategy, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from maskkit.errors import suggest

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "finite": "a finite number",
}
"""What each of pydantic's types is called, by the first word of the error's type."""

_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}


_CHOICES = ("literal_error", "enum")
"""Errors of a value that is none of several names."""


def describe(error: ValidationError, model: type[BaseModel], overridden: Iterable[str] = (), *, noun: str = "key") -> str:
    """All problems, each with the full path of its key; what an override set is said to come from there. noun: what keys are called.

    A value that fits none of several types is one problem: ``data.train is 3, expected text or a list``.
    """
    problems: dict[str, list[Any]] = {}
    for item in error.errors():
        path = _path(item["loc"], model, ends_with_key=item["type"] in ("extra_forbidden", "missing"))
        problems.setdefault(path, []).append(item)
    deepest = [path for path in problems if not any(_inside(other, path) for other in problems)]
    origins = [key for key in overridden if key]
    return "; ".join(_problem(path, problems[path], model, noun) + _origin(path, origins) for path in deepest)


def _problem(path: str, items: list[Any], model: type[BaseModel], noun: str) -> str:
    first = items[0]
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        elsewhere = next((home for home in _homes(name, model) if home != path), "")
        if elsewhere:
            return f"unknown {noun} {path!r}. Did you mean {elsewhere!r}?"
        return f"unknown {noun} {path!r}.{suggest(name, _fields(_section(first['loc'][:-1], model)))}"
    if first["type"] == "invalid_key":
        return f"the key {first['input']!r} is not text: write it in quotes"
    if first["type"] == "missing":
        return f"the {noun} {path!r} is missing"
    if first["type"] == "value_error":
        said = str(first["msg"]).removeprefix("Value error, ")
        if said.startswith(path):
            return said
        return f"{path} is {_short(first['input'])}{', ' if said.startswith('expected') else ': '}{said}"
    expected = " or ".join(dict.fromkeys(_expected(item) for item in items))
    return f"{path} is {_short(first['input'])}, expected {expected}{_near(first)}"


def _expected(item: Any) -> str:
    kind, context = str(item["type"]), item.get("ctx", {})
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**{name: int(bound) if bound == int(bound) else bound for name, bound in context.items()})
    if kind in _CHOICES:
        return str(context["expected"])
    return _EXPECTED.get(kind.partition("_")[0], str(item["msg"]))


def _near(item: Any) -> str:
    if item["type"] not in _CHOICES or not isinstance(item["input"], str):
        return ""
    choices = [choice.strip("' ") for choice in str(item["ctx"]["expected"]).replace(" or ", ",").split(",")]
    near = difflib.get_close_matches(item["input"], choices, n=1, cutoff=0.6) if len(choices) > 1 else []
    return f". Did you mean {near[0]!r}?" if near else ""


def _path(loc: tuple[int | str, ...], model: type[BaseModel], *, ends_with_key: bool = False) -> str:
    """The key as a config writes it, without pydantic's names of the members of a union: ``data.train[1].path``.

    ends_with_key: the last part is a key of the config, whatever it looks like.
    """
    path = ""
    for depth, part in enumerate(loc):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part in _fields(_section(loc[:depth], model)) or not _is_union_member(part) or (ends_with_key and depth == len(loc) - 1):
            path += f".{part}" if path else str(part)
    return path


def _is_union_member(part: str) -> bool:
    return part in ("str", "float", "int", "bool") or "[" in part or part[:1].isupper()


def _section(loc: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    """The model that the keys at ``loc`` belong to."""
    section = model
    for part in loc:
        field = _fields(section).get(str(part))
        if field is not None:
            section = next(_models_in(field.annotation), section)
    return section


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that a config has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _homes(name: str, model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Full paths of the keys that are called ``name``."""
    for key, field in _fields(model).items():
        if key == name:
            yield prefix + key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _homes(name, field.annotation, f"{prefix}{key}.")


def _models_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _inside(path: str, outer: str) -> bool:
    return path != outer and path.startswith((f"{outer}.", f"{outer}["))


def _origin(path: str, origins: list[str]) -> str:
    return " (set by an override)" if any(path == key or _inside(path, key) for key in origins) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
