"""Writes docs/reference/: a page for every hook and for every class of the contract with plugins, from the code itself.

python docs/make_reference.py
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import maskkit
from maskkit import hookspecs

TARGET = Path(__file__).with_name("reference")
CLASSES: dict[str, tuple[type, str]] = {
    "strategy": (maskkit.Strategy, "what a strategy class defines and may declare"),
    "strategy-options": (maskkit.StrategyOptions, "the base of its options"),
    "tokens": (maskkit.Tokens, "the table that a strategy sees"),
    "loss-modifier": (maskkit.LossModifier, "what a loss modifier defines and may declare"),
    "token-scores": (maskkit.TokenScores, "the numbers that a loss modifier sees"),
    "run-info": (hookspecs.RunInfo, "which run a hook tells of"),
}
"""Pages of classes: file, class, what it is."""

INTRODUCTION = """\
# Reference: the contract with plugins

A plugin is a distribution with an entry point in the group `maskkit` whose module implements hooks, each marked with `@maskkit.hookimpl`.
[Write a strategy](../write-a-strategy.md) is the way in; these pages, written from the code, say everything there is.

| hook | |
|---|---|
{hooks}

| class | |
|---|---|
{classes}

## What stays

{promise}

The contract has version {contract}. A plugin may declare the version that it was written for, as `MASKKIT_CONTRACT = {contract}` in its
module; absent means 1. A plugin that declares another version is a row of `maskkit plugins` that says so, and stops only those who
select it. Names of built-in strategies and of their options are kept in the same way: they may be added to, and what a name means does
not change.
"""


def hooks() -> dict[str, Callable[..., Any]]:
    """Every hook of the contract, in the order in which they stand in `maskkit.hookspecs`."""
    return {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "maskkit_spec")}


def pages() -> dict[str, str]:
    """Every page by its file name."""
    found = {f"{name}.md": hook_page(name, hook) for name, hook in hooks().items()}
    found |= {f"{file}.md": class_page(cls, about) for file, (cls, about) in CLASSES.items()}
    return {"README.md": index(), **found}


def index() -> str:
    """The page that leads to the others, with what stays stable."""
    promise = re.search(r"^What stays: (.*?)(?:\n\n|\Z)", inspect.getdoc(hookspecs) or "", re.M | re.S)
    assert promise is not None, "maskkit.hookspecs says no more what stays"
    return INTRODUCTION.format(
        hooks="\n".join(f"| [`{name}`]({name}.md) | {_first_line(hook)} |" for name, hook in hooks().items()),
        classes="\n".join(f"| [`{cls.__name__}`]({file}.md) | {about} |" for file, (cls, about) in CLASSES.items()),
        promise=_text(promise[1][0].upper() + promise[1][1:]),
        contract=hookspecs.CONTRACT,
    )


def hook_page(name: str, hook: Callable[..., Any]) -> str:
    """What a hook is for, and each of its arguments. Raises ValueError where the docstring leaves one out."""
    about, described = _arguments(hook)
    signature = inspect.signature(hook)
    missing = set(signature.parameters) ^ set(described)
    if missing:
        raise ValueError(f"the docstring of {name} does not describe just its arguments: {', '.join(sorted(missing))}")
    lines = [f"# {name}", "", f"```python\n@maskkit.hookimpl\ndef {name}{_signature(signature)}: ...\n```", "", _text(about), ""]
    if described:
        lines += ["| argument | type | |", "|---|---|---|"]
        lines += [f"| `{arg}` | `{_type(signature.parameters[arg].annotation)}` | {text} |" for arg, text in described.items()]
        lines += ["", "An implementation takes those arguments that it wants, by name.", ""]
    return "\n".join(lines)


def class_page(cls: type, about: str) -> str:
    """A class: its docstring, the attributes that stand in it with theirs, its public methods with theirs."""
    lines = [f"# {cls.__name__}", "", f"`maskkit.{cls.__name__}`: {about}." if hasattr(maskkit, cls.__name__) else f"{about}.", ""]
    lines += [_docstring(cls), ""]
    for name, default, text in _attributes(cls):
        lines += [f"**`{name}`{default}** {_text(text)}", ""]
    for name, method in _methods(cls):
        lines += [f"## {name}", "", f"```python\n{name}{_signature(inspect.signature(method))}\n```", "", _docstring(method), ""]
    return "\n".join(lines)


def _attributes(cls: type) -> Iterator[tuple[str, str, str]]:
    """(name, " = default", docstring) of each attribute of the class or of its bases here that a string below it documents."""
    for home in reversed(cls.__mro__):
        if not home.__module__.startswith("maskkit"):
            continue
        source = inspect.getsource(home)
        fields = {field.name for field in dataclasses.fields(home)} if dataclasses.is_dataclass(home) else set()
        for match in re.finditer(r'^    (\w+): [^\n]*?(?:= ([^\n]+))?\n    """(.*?)"""', source, re.M | re.S):
            if not match[1].startswith("_"):
                default = "" if match[1] in fields or match[2] is None else f" = {match[2]}"
                yield match[1], default, inspect.cleandoc(match[3])


def _methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for home in reversed(cls.__mro__):
        if home.__module__.startswith("maskkit"):
            for name, value in vars(home).items():
                if inspect.isfunction(value) and not name.startswith("_") and getattr(cls, name) is value and value.__doc__:
                    yield name, value


def _arguments(hook: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    about, _, arguments = (inspect.getdoc(hook) or "").partition("\nArgs:\n")
    described: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", arguments, re.M | re.S):
        described[match[1]] = _text(" ".join(match[2].split()))
    return about.strip(), described


def _docstring(of: Any) -> str:
    """A docstring as Markdown: indented parts stay as they are."""
    blocks = re.split(r"\n\n+", inspect.getdoc(of) or "")
    return "\n\n".join(block if block.startswith("    ") else _block(block) for block in blocks)


def _block(block: str) -> str:
    head, _, table = block.partition("\n    ")
    return _text(head) + (f"\n\n    {table}" if table else "")


def _text(text: str) -> str:
    """reStructuredText's marks of code as Markdown's."""
    return re.sub(r"``(.+?)``", r"`\1`", text, flags=re.S)


def _signature(signature: inspect.Signature) -> str:
    return _type(str(signature))


def _type(annotation: Any) -> str:
    return re.sub(r"(?<![\w.])(?:pathlib\.|npt\.|typing\.|collections\.abc\.)", "", str(annotation).replace("'", ""))


def _first_line(of: Any) -> str:
    return _text((inspect.getdoc(of) or "").partition("\n")[0])


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for old in TARGET.glob("*.md"):
        old.unlink()
    for file, text in pages().items():
        (TARGET / file).write_text(text, encoding="utf-8")
