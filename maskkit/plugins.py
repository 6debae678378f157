"""Plugins: finding them, loading each in its own guard, and selecting a strategy by name.

Built-ins and strangers come in through one hook (`maskkit.hookspecs`). A plugin that cannot be imported, registers something that is not a
strategy, or was made for another contract is a row in `plugin_rows` and stops only those who select it.

    MASKKIT_PLUGINS=a,b                  load these plugins and no others
    MASKKIT_DISABLE_PLUGIN_AUTOLOAD=1    load none but those of MASKKIT_PLUGINS
    MASKKIT_DISABLE_PLUGINS=a,b          do not load these; what `switch_off`, ``-p no:NAME`` and ``plugins.disable`` in a config set

A plugin is named by its entry point or its distribution. The built-in strategies are always there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeGuard

import pluggy

import maskkit
from maskkit import builtin, hookspecs
from maskkit.errors import ConfigError, MaskkitError, PluginError, UnknownNameError, suggest
from maskkit.strategy import NEEDS, SCOPES, FromFile, Function, LossModifier, Max, Product, Scaled, Strategy, StrategyOptions, as_strategy
from maskkit.strategy.modifier import ModifierFromFile, alone, as_modifier

logger = logging.getLogger(__name__)

GROUP = "maskkit"
"""The entry-point group."""

ONLY, NO_AUTOLOAD, OFF = "MASKKIT_PLUGINS", "MASKKIT_DISABLE_PLUGIN_AUTOLOAD", "MASKKIT_DISABLE_PLUGINS"
"""Environment variables that say which plugins are loaded."""

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
"""What a strategy or loss modifier may be called."""
Part = Strategy | LossModifier
"""What a selection may name."""
_COMBINATIONS: dict[str, Callable[..., Strategy]] = {"product": Product, "max": Max}


@dataclass(frozen=True)
class StrategyInfo:
    """A strategy or loss modifier that can be selected, for listings."""

    name: str
    origin: str
    """The distribution it comes from: ``maskkit`` for the built-ins."""
    version: str
    doc: str
    """First line of its docstring."""
    schema: dict[str, Any]
    """JSON schema of its options."""
    sort: str = "strategy"
    """``strategy``, or ``loss modifier``, which acts on a strategy's weights."""


@dataclass(frozen=True)
class PluginRow:
    """A plugin that was found, and what became of it."""

    name: str
    """Its entry point's name."""
    origin: str
    version: str
    status: str
    """``ok``, ``failed: ...``, or ``off: ...``."""
    strategies: tuple[str, ...] = ()


@dataclass
class Registry:
    """All plugins, and the classes they registered."""

    rows: list[PluginRow] = field(default_factory=list)
    classes: dict[str, dict[str, type[Part]]] = field(default_factory=dict)
    """name -> origin -> class."""
    versions: dict[str, str] = field(default_factory=dict)
    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager("maskkit"))
    """Holds the plugins that are used, for the hooks that tell what a run does."""


def strategies() -> list[StrategyInfo]:
    """Every strategy and loss modifier that can be selected, built-ins first, then by origin and name."""
    found = registry()
    infos = [
        StrategyInfo(name, origin, found.versions[origin], _first_line(cls), cls.Options.model_json_schema(), cls.sort)
        for name, by_origin in found.classes.items()
        for origin, cls in by_origin.items()
    ]
    return sorted(infos, key=lambda info: (info.origin != "maskkit", info.origin))


def plugin_rows() -> list[PluginRow]:
    """Every plugin that was found, with its strategies or the reason why it is not used."""
    return list(registry().rows)


def switch_off(names: Iterable[str]) -> None:
    """Load these plugins no more, in this process and its children. They are not even imported, unless they already were.

    names: of entry points or distributions. One that is not installed is a warning. Raises ConfigError for the built-ins.
    """
    wanted = {_canonical(name) for name in names}
    if wanted & {"builtin", "maskkit"}:
        raise ConfigError("the built-in strategies cannot be switched off; plugins can: see  maskkit plugins")
    if wanted - _named_in(OFF):
        os.environ[OFF] = ",".join(sorted(wanted | _named_in(OFF)))
        registry.cache_clear()


def origins_of(strategy: Strategy) -> dict[str, str]:
    """Where each strategy that a selection is made of comes from: ``{"final-answer": "maskkit-final-answer 0.1.0"}``.

    A class in a file is named by the file's hash, a bare function by its module.
    """
    return dict(sorted(_origins(strategy)))


def load_strategy(spec: Any) -> Strategy:
    """The strategy that a selection names.

    spec: a name; ``{name: ..., option: value}``; ``{product: [...]}``; ``{max: [...]}``; ``{scale: x, strategy: ...}``;
    ``"path/file.py:Class"``, which executes that file; ``"distribution:name"``; a Strategy, its class, or a function of tokens.

    Raises UnknownNameError for a name that nothing registered, PluginError where two distributions give the same name or the plugin
    failed to load, ConfigError for anything else that is wrong with the selection or its options, also for a loss modifier alone.
    """
    part = load_part(spec)
    if isinstance(part, LossModifier):
        raise alone(part)
    return part


def load_part(spec: Any) -> Part:
    """What `load_strategy` gives, or the loss modifier that a selection names: a part of a product."""
    if isinstance(spec, str):
        return _by_name(spec, {})
    if isinstance(spec, Mapping):
        return _from_mapping(dict(spec))
    modifier = as_modifier(spec)
    if modifier is not None:
        return modifier
    if isinstance(spec, Strategy) or callable(spec):
        return as_strategy(spec)
    raise ConfigError(f"strategy is {spec!r}, expected a name, a mapping with a name, or product, max or scale")


@lru_cache(maxsize=1)
def registry() -> Registry:
    """Find and load all plugins, once per process."""
    found = Registry()
    manager = found.manager
    manager.add_hookspecs(hookspecs)
    _register(found, manager, "builtin", "maskkit", maskkit.__version__, lambda: builtin)
    only, off = _named_in(ONLY), _named_in(OFF)
    if not only and os.environ.get(NO_AUTOLOAD, "") not in ("", "0"):
        return found
    seen: set[str] = set()
    points = metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda p: (p.dist.name if p.dist else "", p.name)):
        origin, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        names = {_canonical(point.name), _canonical(origin)}
        seen |= names
        if names & off or (only and not names & only):
            reason = "switched off" if names & off else f"not in {ONLY}"
            found.rows.append(PluginRow(point.name, origin, version, f"off: {reason}"))
        else:
            _register(found, manager, point.name, origin, version, point.load)
    found.rows += [PluginRow(name, "?", "?", f"failed: {ONLY} names it, and it is not installed") for name in sorted(only - seen)]
    for name in sorted(off - seen):
        logger.warning("plugin %r is switched off, and is not installed", name)
    return found


def _named_in(variable: str) -> set[str]:
    return {_canonical(name) for name in os.environ.get(variable, "").split(",") if name.strip()}


def _canonical(name: str) -> str:
    """Names of distributions are the same however they are punctuated."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _origins(strategy: Strategy) -> Iterator[tuple[str, str]]:
    for part in strategy.inner:
        yield from _origins(part)
    if isinstance(strategy, Product):
        yield from ((part.label, _origin(part)) for part in strategy.parts if isinstance(part, LossModifier))
    if type(strategy) not in (Product, Max, Scaled):
        yield strategy.label, _origin(strategy)


def _origin(part: Part) -> str:
    """Distribution and version, or what else says where the code came from."""
    found = registry()
    if isinstance(part, (FromFile, ModifierFromFile)):
        file = Path(part.selection.rpartition(":")[0]).expanduser()
        return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    if isinstance(part, Function):
        return f"function of {getattr(part.function, '__module__', '?')}"
    homes = [origin for origin, cls in found.classes.get(part.name, {}).items() if cls is type(part)]
    return f"{homes[0]} {found.versions[homes[0]]}" if homes else f"class of {type(part).__module__}"


def _register(found: Registry, manager: pluggy.PluginManager, name: str, origin: str, version: str, load: Callable[[], Any]) -> None:
    """Load one plugin in a guard of its own and take its strategies, all or none."""
    try:
        classes = _strategies_of(manager, load(), f"{origin}:{name}")
        _check_names(found, classes, origin)
    except (Exception, SystemExit) as error:  # a plugin is a stranger's code: whatever it raises is its row, and nobody else's
        if manager.has_plugin(f"{origin}:{name}"):
            manager.unregister(name=f"{origin}:{name}")
        found.rows.append(PluginRow(name, origin, version, f"failed: {_reason(error)}"))
        return
    found.versions[origin] = version
    for cls in classes:
        found.classes.setdefault(cls.name, {})[origin] = cls
    found.rows.append(PluginRow(name, origin, version, "ok", tuple(cls.name for cls in classes)))


def _strategies_of(manager: pluggy.PluginManager, plugin: Any, name: str) -> list[type[Part]]:
    contract = getattr(plugin, "MASKKIT_CONTRACT", 1)
    if contract != hookspecs.CONTRACT:
        raise PluginError(f"made for contract {contract}, this maskkit has contract {hookspecs.CONTRACT}")
    others = list(manager.get_plugins())
    manager.register(plugin, name=name)
    manager.check_pending()
    results = manager.subset_hook_caller("maskkit_strategies", remove_plugins=others)()
    classes: list[type[Part]] = []
    for cls in (cls for result in results for cls in _listed(result)):
        _check_class(cls)
        classes.append(cls)
    return classes


def _listed(result: Any) -> list[Any]:
    if not isinstance(result, (list, tuple)):
        raise PluginError(f"maskkit_strategies() returned {type(result).__name__}, expected a list of strategy classes")
    return list(result)


def _check_class(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, (Strategy, LossModifier))):
        raise PluginError(f"maskkit_strategies() returned {cls!r}, expected a subclass of maskkit.Strategy or maskkit.LossModifier")
    if not isinstance(cls.name, str) or not NAME.match(cls.name):
        raise PluginError(f"{cls.sort} class {cls.__qualname__} has the name {cls.name!r}, expected lower-case letters, digits and hyphens")
    _check_contract(cls, cls.name)


def _check_contract(cls: type[Part], name: str) -> None:
    """What every class must have, whether it is registered or taken from a file."""
    if not (isinstance(cls.Options, type) and issubclass(cls.Options, StrategyOptions)):
        raise PluginError(f"{cls.sort} {name!r}: Options is not a subclass of maskkit.StrategyOptions")
    if "name" in cls.Options.model_fields:
        raise PluginError(f"{cls.sort} {name!r} has an option called 'name', which would be taken for its own name")
    if hasattr(cls, "visibility"):
        raise PluginError(f"{cls.sort} {name!r} defines visibility, which this contract does not call: attention is causal; rename it")
    if issubclass(cls, LossModifier):
        _check_modifier(cls, name)
    elif cls.weights is Strategy.weights:
        raise PluginError(f"{cls.sort} {name!r} does not define weights(self, tokens)")


def _check_modifier(cls: type[LossModifier], name: str) -> None:
    if cls.reweight is LossModifier.reweight:
        raise PluginError(f"{cls.sort} {name!r} does not define reweight(self, scores, base)")
    unknown = sorted({cls.needs} if isinstance(cls.needs, str) else set(cls.needs) - set(NEEDS))
    if unknown:
        raise PluginError(f"{cls.sort} {name!r} needs {unknown[0]!r}, expected a set of names among {', '.join(NEEDS)}")
    if not isinstance(cls.scope, property) and cls.scope not in SCOPES:
        raise PluginError(f"{cls.sort} {name!r} has the scope {cls.scope!r}, expected {' or '.join(map(repr, SCOPES))}")


def _check_names(found: Registry, classes: list[type[Part]], origin: str) -> None:
    names = [cls.name for cls in classes]
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"registers two strategies named {name!r}")
        if origin in found.classes.get(name, {}):
            raise PluginError(f"strategy {name!r} is already registered by another entry point of {origin}")


def _by_name(selection: str, options: dict[str, Any]) -> Part:
    if ".py:" in selection:
        made = _made(_class_from_file(selection), selection, options)
        return ModifierFromFile(selection, made) if isinstance(made, LossModifier) else FromFile(selection, made)
    if selection.endswith(".py"):
        raise ConfigError(f"strategy {selection!r} is a file: write {selection}:Class, the name of the strategy's class behind it")
    found = registry()
    origin, _, name = selection.rpartition(":")
    by_origin = found.classes.get(name, {})
    if origin:
        if origin not in by_origin:
            available = [f"{o}:{n}" for n, origins in found.classes.items() for o in origins]
            raise UnknownNameError("strategy", selection, available, _failed_plugins(found))
        return _made(by_origin[origin], selection, options)
    if not by_origin:
        raise UnknownNameError("strategy", name, found.classes, _failed_plugins(found))
    if "maskkit" in by_origin:
        return _made(by_origin["maskkit"], selection, options)
    if len(by_origin) > 1:
        choices = " or ".join(repr(f"{o}:{name}") for o in sorted(by_origin))
        raise PluginError(f"strategy {name!r} is registered by {' and '.join(sorted(by_origin))}: select {choices}")
    return _made(next(iter(by_origin.values())), selection, options)


def _made(cls: type[Part], selection: str, options: dict[str, Any]) -> Part:
    """One of a class; whatever a stranger's constructor raises names the selection."""
    try:
        return cls(options)
    except MaskkitError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{cls.sort} {selection!r} cannot be made: {_reason(error)}") from error


def _from_mapping(spec: dict[str, Any]) -> Part:
    if isinstance(spec.get("name"), str):  # first, since an option may be called max or scale
        return _by_name(spec.pop("name"), spec)
    for word, combination in _COMBINATIONS.items():
        if word in spec:
            _only(spec, {word})
            if not isinstance(spec[word], (list, tuple)) or not spec[word]:
                raise ConfigError(f"strategy {{{word}: ...}} is {spec[word]!r}, expected a list of strategies")
            return combination(*map(load_part if word == "product" else load_strategy, spec[word]))
    if "scale" in spec:
        _only(spec, {"scale", "strategy"})
        if "strategy" not in spec:
            raise ConfigError("strategy {scale: x} says no strategy to scale: write {scale: x, strategy: NAME}")
        return Scaled(spec["scale"], load_strategy(spec["strategy"]))
    raise ConfigError(
        f"strategy {spec!r} has no name; expected {{name: ..., option: value}}, "
        "{product: [...]}, {max: [...]} or {scale: x, strategy: ...}"
    )


def _only(spec: dict[str, Any], allowed: set[str]) -> None:
    for key in spec.keys() - allowed:
        raise ConfigError(f"strategy {spec!r} has the key {key!r} beside {sorted(allowed & spec.keys())}.{suggest(str(key), allowed)}")


def _class_from_file(selection: str) -> type[Part]:
    """Execute a file and take a class from it."""
    file, _, name = selection.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"strategy {selection!r}: there is no file {path}")
    logger.warning("strategy %r executes the code in %s", selection, path)
    module_name = f"_maskkit_file_{abs(hash(str(path.resolve())))}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"strategy {selection!r}: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PluginError(f"strategy {selection!r}: executing {path} failed: {_reason(error)}") from error
    cls = getattr(module, name, None)
    if not _is_part(cls):
        raise UnknownNameError(f"strategy class in {path}:", name, [n for n, value in vars(module).items() if _is_part(value)])
    _check_contract(cls, selection)
    return cls


def _is_part(value: Any) -> TypeGuard[type[Part]]:
    return isinstance(value, type) and issubclass(value, (Strategy, LossModifier)) and value not in (Strategy, LossModifier)


def _failed_plugins(found: Registry) -> str:
    failed = [f"{row.origin} ({row.status})" for row in found.rows if row.status != "ok"]
    return f"Plugins that are not used: {'; '.join(failed)}." if failed else ""


def _first_line(cls: type[Part]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0] if cls.__doc__ else ""


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, MaskkitError) else f"{type(error).__name__}: {text}"
