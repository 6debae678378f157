"""``maskkit strategies``: what can be selected, strategies and loss modifiers, and with which options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli.output import Json, print_columns, print_json
from maskkit.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from maskkit.plugins import StrategyInfo

app = typer.Typer(help="List the strategies that can be selected; `show NAME` tells the options of one.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def strategies(context: typer.Context, as_json: Json = False) -> None:
    """List the strategies that can be selected; `show NAME` tells the options of one."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise ConfigError("--json stands before `show`, where it says nothing: write  maskkit strategies show NAME --json")
        return
    from dataclasses import asdict

    from maskkit.plugins import strategies as available

    found = available()
    if as_json:
        print_json([asdict(info) for info in found])
        return
    print_columns(_listed(info) for info in found if info.sort == "strategy")
    modifiers = [info for info in found if info.sort != "strategy"]
    if modifiers:
        print("\nloss modifiers, which weigh anew by what the model predicts:  strategy: {product: [assistant-only, NAME]}")
        print_columns(map(_listed, modifiers))


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A strategy.")], as_json: Json = False) -> None:
    """Tell what a strategy does and the options it takes."""
    from dataclasses import asdict

    from maskkit.plugins import strategies as available

    infos = available()
    chosen = [info for info in infos if name in (info.name, f"{info.origin}:{info.name}")]
    if not chosen:
        raise UnknownNameError("strategy", name, [info.name for info in infos])
    if as_json:
        print_json([asdict(info) for info in chosen])
        return
    for info in chosen:
        print(f"{info.name} ({'' if info.sort == 'strategy' else f'{info.sort}, '}{info.origin} {info.version})")
        print(info.doc)
        properties = info.schema.get("properties", {})
        required = info.schema.get("required", [])
        print("\noptions:" if properties else "\nno options")
        print_columns([_option(key, value, key in required, info.schema) for key, value in properties.items()], indent="  ")
        example = _example(info.name, properties, required)
        print(f"\nin a config:  strategy: {example if info.sort == 'strategy' else f'{{product: [assistant-only, {example}]}}'}")


def _listed(info: StrategyInfo) -> tuple[str, str]:
    return info.name, info.doc + ("" if info.origin == "maskkit" else f" ({info.origin} {info.version})")


def _option(name: str, schema: Mapping[str, Any], required: bool, root: Mapping[str, Any]) -> tuple[str, str, str, str]:
    default = "required" if required else f"default {plain_value(schema.get('default'))}"
    return name, type_in_words(schema, root), default, " ".join(str(schema.get("description", "")).split())


def _example(name: str, properties: Mapping[str, Any], required: Sequence[str]) -> str:
    """A selection with the options that it cannot do without, or else with the first there is."""
    first = [*required, *properties][: len(required) or 1]
    values = {key: properties[key].get("default", next(iter(properties[key].get("examples", [1])))) for key in first}
    shown = [f"{key}: {plain_value(value)}" for key, value in values.items()]
    return f"{{name: {name}, {', '.join(shown)}}}" if shown else name


def type_in_words(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """A JSON schema's type in a word or two."""
    if "$ref" in schema:
        return type_in_words(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_in_words(choice, root) for choice in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(plain_value(choice) for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_in_words(schema.get('items', {}), root)}"
    if schema.get("properties"):
        return f"{{{', '.join(schema['properties'])}}}"
    names = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "mapping"}
    return names.get(str(schema.get("type", "value")), str(schema.get("type", "value")))


def plain_value(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
