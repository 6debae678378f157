"""What a strategy and a loss modifier have to declare in the same way: a name, a docstring, options that are closed and documented."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from maskkit.strategy import Configured, FromFile, Function, Strategy
from maskkit.strategy.modifier import ModifierFromFile

if TYPE_CHECKING:
    from pydantic import BaseModel


def documented(part: Configured) -> None:
    """Raises AssertionError unless it has a name that configs can hold, a docstring, and a docstring under each option."""
    if not is_class_of_its_own(part):
        return
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", part.name):
        raise AssertionError(f"{type(part).__name__}.name is {part.name!r}, expected lower-case letters, digits and hyphens")
    if not (type(part).__doc__ or "").strip():
        raise AssertionError(f"{part.sort} {part.name!r} has no docstring: its first line is what  maskkit strategies  shows")
    for path, model in _models(type(part).Options):
        for option, about in model.model_fields.items():
            if not about.description:
                raise AssertionError(f"option {path}{option} of {part.name!r} is not documented: write a docstring under it")


def closed(part: Configured) -> None:
    """Raises AssertionError where unknown options are taken, options can be changed, or one is called ``name``."""
    if not is_class_of_its_own(part):
        return
    for path, model in _models(type(part).Options):
        if model.model_config.get("extra") != "forbid" or not model.model_config.get("frozen"):
            raise AssertionError(
                f"{path or 'Options'} of {part.name!r} takes unknown options or can be changed: derive it from maskkit.StrategyOptions "
                "and leave its model_config alone"
            )
    if "name" in type(part).Options.model_fields:
        raise AssertionError(f"{part.name!r} has an option called 'name', which would be taken for its own name")


def is_class_of_its_own(part: Configured) -> bool:
    """Not a function, a file's class behind its file, or a combination."""
    if isinstance(part, Strategy) and part.inner and not part.name:
        return False
    return bool(part.name) and not isinstance(part, (Function, FromFile, ModifierFromFile))


def from_yaml(part: Configured) -> Any:
    """Its selection, written to YAML and read again. Raises AssertionError where that cannot be."""
    import yaml

    spec = part.spec()
    try:
        return yaml.safe_load(yaml.safe_dump(spec))
    except yaml.YAMLError as error:
        raise AssertionError(f"the selection {spec!r} cannot be written as YAML: {' '.join(str(error).split())}") from None


def made_again(part: Configured, read: Any) -> Configured:
    """One of the same class from what `from_yaml` gave, or what was loaded from it; AssertionError unless it has the same selection."""
    if isinstance(read, Configured):
        again = read
    else:
        again = type(part)({key: value for key, value in read.items() if key != "name"} if isinstance(read, dict) else {})
    if again.spec() != part.spec():
        raise AssertionError(f"the selection {part.spec()!r} comes back from YAML as {again.spec()!r}: options have to keep what is given")
    return again


def _models(options: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The options and the options inside them."""
    yield path, options
    for name, about in options.model_fields.items():
        for model in _models_in(about.annotation):
            yield from _models(model, f"{path}{name}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    from pydantic import BaseModel

    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
