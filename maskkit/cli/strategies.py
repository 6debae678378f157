"""``maskkit strategies``: what can be selected, and with which options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from maskkit.cli.output import Json, print_columns, print_json
from maskkit.errors import ConfigError, UnknownNameError

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
    print_columns((info.name, info.doc + ("" if info.origin == "maskkit" else f" ({info.origin} {info.version})")) for info in found)


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
        print(f"{info.name} ({info.origin} {info.version})")
        print(info.doc)
        properties = info.schema.get("properties", {})
        required = info.schema.get("required", [])
        print("\noptions:" if properties else "\nno options")
        print_columns([_option(key, value, key in required, info.schema) for key, value in properties.items()], indent="  ")
        print(f"\nin a config:  strategy: {_example(info.name, properties)}")


def _option(name: str, schema: Mapping[str, Any], required: bool, root: Mapping[str, Any]) -> tuple[str, str, str, str]:
    default = "required" if required else f"default {_plain(schema.get('default'))}"
    return name, _type(schema, root), default, " ".join(str(schema.get("description", "")).split())


def _example(name: str, properties: Mapping[str, Any]) -> str:
    first = next(iter(properties.items()), None)
    return name if first is None else f"{{name: {name}, {first[0]}: {_plain(first[1].get('default', 1))}}}"


def _type(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """A JSON schema's type in a word or two."""
    if "$ref" in schema:
        return _type(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(choice, root) for choice in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(_plain(choice) for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), root)}"
    if schema.get("properties"):
        return f"{{{', '.join(schema['properties'])}}}"
    names = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "mapping"}
    return names.get(str(schema.get("type", "value")), str(schema.get("type", "value")))


def _plain(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
