"""From a file and ``a.b=value`` overrides to plain values, as YAML or TOML has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from maskkit.errors import ConfigError, suggest

BUNDLED = "quickstart"
"""Name of the config that comes with the package."""

ENDINGS = (".yaml", ".yml", ".toml")
"""What names of config files end with."""


def read_config(source: str | Path) -> tuple[str, dict[str, Any]]:
    """The name by which errors call a config, and its values.

    source: a file, or ``quickstart``, the bundled one, where no file has that name. Raises ConfigError for a missing file, one of another
    type or not in its language.
    """
    path = Path(source)
    if str(source) == BUNDLED and not path.exists():
        from maskkit import embedded

        return BUNDLED, _mapping(parsed_yaml(embedded.QUICKSTART_CONFIG.read_text(encoding="utf-8"), BUNDLED), BUNDLED)
    if not path.is_file():
        raise ConfigError(_no_file(path))
    if path.suffix.lower() not in ENDINGS:
        first = f"; from a file of rows, a first one is written by  maskkit new config {path} --model M"
        raise ConfigError(f"{path}: unknown type of file, a config ends with {', '.join(ENDINGS)}{first}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    values = _parsed_toml(text, path) if path.suffix.lower() == ".toml" else parsed_yaml(text, str(path))
    return str(path), _mapping(values, str(path))


def overridden(values: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of ``values`` with one ``a.b=value`` applied; the value is YAML. Raises ConfigError."""
    name, equals, text = override.partition("=")
    path = name.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"override {override!r}: expected key=value, such as training.max_steps=10")
    return _with(values, path, parsed_yaml(text, f"override {override!r}"), override)


def overridden_key(override: str) -> str:
    """The key that an override sets."""
    return override.partition("=")[0].strip()


def parsed_yaml(text: str, where: str) -> Any:
    """The value of a YAML text, with numbers such as ``2e-5`` and without keys that are given twice. Raises ConfigError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}" if mark and where.endswith(ENDINGS) else ""
        cure = "; indent with spaces, not with tabs" if "'\\t'" in (error.problem or "") else ""
        raise ConfigError(f"{where}{place}: not YAML: {' '.join(filter(None, (error.context, error.problem)))}{cure}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-99-99
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``2e-5`` is a number, as in YAML 1.2, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def _parsed_toml(text: str, path: Path) -> Any:
    try:
        import tomllib
    except ImportError:
        raise ConfigError(f"{path}: reading TOML needs Python 3.11 or newer; write the config as YAML") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _mapping(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"{type(values).__name__} {values!r:.40}"
        raise ConfigError(f"{where}: found {found}, expected keys such as model, data and output_dir")
    return values


def _with(values: Mapping[str, Any], path: list[str], value: Any, override: str) -> dict[str, Any]:
    key, *rest = path
    if not rest:
        return {**values, key: value}
    inner = values.get(key)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(f"override {override!r}: {key} is {inner!r}, which has no keys")
    return {**values, key: _with(inner or {}, rest, value, override)}


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder, expected a config file ({', '.join(ENDINGS)}) or {BUNDLED!r}"
    beside = [p.name for p in path.parent.iterdir() if p.suffix in ENDINGS] if path.parent.is_dir() else []
    return f"there is no config {path}.{suggest(path.name, [*beside, BUNDLED])}"
