"""What strategies and loss modifiers have in common: a name, options that are checked, and a selection that gives them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from maskkit.errors import ConfigError
from maskkit.problems import describe


class StrategyOptions(BaseModel):
    """Base of the options of a strategy or loss modifier: frozen, unknown names refused. A docstring under a field documents it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` as true, and Python takes true for 1: nobody means that weight."""
        types = _types_of(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and types & {int, float} and bool not in types:
            raise ValueError("expected a number")
        return value


def _types_of(annotation: Any) -> set[Any]:
    """The annotation, and what it is a union of."""
    return {annotation, *get_args(annotation)}


class Configured:
    """Something that a config selects by name, with options."""

    sort: ClassVar[str]
    """What it is, for errors and listings."""

    name: ClassVar[str] = ""
    """How configs select it: lower-case letters, digits and hyphens."""

    Options: ClassVar[type[StrategyOptions]] = StrategyOptions
    """Its options, a nested class of `StrategyOptions`; no option may be called ``name``."""

    token_columns: tuple[str, ...] = ()
    """Columns of the row, one number per token of the example, that it reads as ``tokens.extras``."""

    options: Any

    def __init__(self, options: StrategyOptions | Mapping[str, Any] | None = None, /, **values: Any) -> None:
        if isinstance(options, self.Options) and not values:
            self.options = options
        else:
            given = options.model_dump(exclude_unset=True, by_alias=True) if isinstance(options, StrategyOptions) else dict(options or {})
            self.options = self._validated({**given, **values})
        self.setup()

    def setup(self) -> None:
        """Called once, when the options are known: the place to load another strategy or to compile an expression."""

    @property
    def label(self) -> str:
        """How errors and reports call it."""
        return self.name or type(self).__name__

    def spec(self) -> Any:
        """The selection that gives it again: what a config would say."""
        return selection_of(self.name, self.options)

    def _validated(self, values: dict[str, Any]) -> StrategyOptions:
        try:
            return self.Options.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{self.sort} {self.label!r}: {describe(error, self.Options, noun='option')}") from None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Configured) and self.spec() == other.spec()

    def __hash__(self) -> int:
        return hash(repr(self.spec()))


def selection_of(name: str, options: StrategyOptions) -> Any:
    """A name, or a mapping of the name and the options that were given."""
    chosen = options.model_dump(mode="json", exclude_unset=True, by_alias=True)
    return {"name": name, **chosen} if chosen else name
