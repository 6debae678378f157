"""Writes docs/reference/: a page for every hook, for every class of the contract with plugins, and for a config, from the code itself.

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
from maskkit.cli.strategies import plain_value, type_in_words

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
# Reference: the contract with plugins, and every key of a config

What a config may say: [every key](config.md).

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


CONFIG_INTRODUCTION = """\
`maskkit train`, `preview`, `explain`, `lint`, `prepare`, `compare` and `check parity` take a config, in YAML or TOML; `--set
section.key=value` changes a key of it, and `maskkit new config` writes a first one. A key that does not exist is an error that names the
nearest one. A section may be left out, and so may every key that has a default."""


def hooks() -> dict[str, Callable[..., Any]]:
    """Every hook of the contract, in the order in which they stand in `maskkit.hookspecs`."""
    return {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "maskkit_spec")}


def pages() -> dict[str, str]:
    """Every page by its file name."""
    found = {f"{name}.md": hook_page(name, hook) for name, hook in hooks().items()}
    found |= {f"{file}.md": class_page(cls, about) for file, (cls, about) in CLASSES.items()}
    return {"README.md": index(), "config.md": config_page(), **found}


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


def config_page() -> str:
    """Every key of a config with its values, its default and its meaning, section by section."""
    root = maskkit.RunConfig.model_json_schema()
    lines = ["# A config, key by key", "", CONFIG_INTRODUCTION, ""]
    for section, schema in _sections(root):
        lines += [f"## {section}", "", _cell(schema["description"]), ""] if section else []
        lines += ["| key | value | default | |", "|---|---|---|---|"]
        for key, value in schema["properties"].items():
            values = "a section, below" if _section(value, root) else _cell(type_in_words(value, root))
            default = "required" if key in schema.get("required", []) else _default(value, root)
            meaning = value.get("description") or (_section(value, root) or {}).get("description", "")
            lines.append(f"| `{key}` | {values} | {default} | {_cell(meaning)} |")
        lines.append("")
    return "\n".join(lines)


def _default(value: dict[str, Any], root: dict[str, Any]) -> str:
    if "default" not in value:  # made anew for each config
        return {"array": "`[]`", "object": "`{}`"}[value["type"]]
    return "" if _section(value, root) and value["default"] is not None else f"`{plain_value(value['default'])}`"


def _cell(text: str) -> str:
    """A docstring in one line, in which nothing is taken for the end of a cell or for HTML."""
    code = re.split("(`+.+?`+)", _text(" ".join(text.split())).replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in code)


def _sections(root: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys that stand at the left margin, then each section by its name."""
    yield "", root
    for key, value in root["properties"].items():
        section = _section(value, root)
        if section:
            yield key, section
            if key == "data":
                yield "data.train, as a list", root["$defs"]["DataSource"]


def _section(value: dict[str, Any], root: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the section that a value is, or may be."""
    for choice in [value, *value.get("anyOf", [])]:
        if "$ref" in choice and "properties" in root["$defs"][choice["$ref"].rpartition("/")[2]]:
            return dict(root["$defs"][choice["$ref"].rpartition("/")[2]])
    return None


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
