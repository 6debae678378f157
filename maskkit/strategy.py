"""A strategy decides how much the loss of each token counts; strategies combine.

    class FinalAnswer(maskkit.Strategy):
        '''Train the final answer and its stop token, not the reasoning that led to it.'''
        name = "final-answer"

        class Options(maskkit.StrategyOptions):
            stop: float = 1.0

        def weights(self, tokens):
            return tokens.where(kind="answer") + self.options.stop * tokens.where(kind="stop")

``a & b`` multiplies the weights of two strategies, ``a | b`` takes the larger, ``0.3 * a`` scales. A bare function of ``tokens`` is
accepted wherever a strategy is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Union, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from maskkit.errors import ConfigError, DataError, MaskkitError, StrategyError, suggest

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens

Spec = Union[str, "dict[str, Any]"]
"""A selection as it stands in a config: a name, or a mapping (name and options, product, max, scale)."""


_DECLARATIONS = ("signed", "needs_attribution", "reads_data_weights")
"""What a strategy declares beside its weights."""


class StrategyOptions(BaseModel):
    """Base of a strategy's options: frozen, unknown names refused. A docstring under a field documents it."""

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


class Strategy:
    """A named rule: tokens -> weights. Subclass it, give it a ``name`` and write `weights`."""

    name: ClassVar[str] = ""
    """How configs select it: lower-case letters, digits and hyphens."""

    Options: ClassVar[type[StrategyOptions]] = StrategyOptions
    """Its options, a nested class of `StrategyOptions`; no option may be called ``name``."""

    signed: bool = False
    """Whether negative weights are meant."""

    needs_attribution: bool = True
    """Whether it matters who wrote a token. If so, tokens of unknown origin and tokens that straddle prompt and reply weigh 0."""

    reads_data_weights: bool = False
    """Whether it reads ``tokens.data_weights``. If not, weights in the data are reported as ignored."""

    options: Any

    inner: tuple[Strategy, ...] = ()
    """The strategies that it is made of."""

    def __init__(self, options: StrategyOptions | Mapping[str, Any] | None = None, /, **values: Any) -> None:
        if isinstance(options, self.Options) and not values:
            self.options = options
        else:
            given = options.model_dump(exclude_unset=True, by_alias=True) if isinstance(options, StrategyOptions) else dict(options or {})
            self.options = self._validated({**given, **values})
        self.setup()

    def setup(self) -> None:
        """Called once, when the options are known: the place to load another strategy or to compile an expression."""

    def take(self, *inner: StrategyLike) -> None:
        """Say which strategies it is made of; it then declares what any of them does."""
        self.inner = tuple(as_strategy(part) for part in inner)
        for name in _DECLARATIONS:
            setattr(self, name, any(getattr(part, name) for part in self.inner))

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        """How much the loss of predicting each token counts.

        Returns an array of T finite numbers (bools are fine), one per token, label-aligned: entry t belongs to ``tokens.ids[t]``. Must
        depend on ``tokens`` and the options alone.
        """
        raise StrategyError(f"strategy {self.label!r} does not define weights(self, tokens)")

    @property
    def label(self) -> str:
        """How errors and reports call it."""
        return self.name or type(self).__name__

    def spec(self) -> Any:
        """The selection that gives this strategy again: what a config would say."""
        chosen = self.options.model_dump(mode="json", exclude_unset=True, by_alias=True)
        return {"name": self.name, **chosen} if chosen else self.name

    def _validated(self, values: dict[str, Any]) -> StrategyOptions:
        try:
            return self.Options.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_options_error(self.label, self.Options, error)) from None

    def __and__(self, other: StrategyLike) -> Strategy:
        return Product(self, as_strategy(other))

    def __rand__(self, other: StrategyLike) -> Strategy:
        return Product(as_strategy(other), self)

    def __or__(self, other: StrategyLike) -> Strategy:
        return Max(self, as_strategy(other))

    def __ror__(self, other: StrategyLike) -> Strategy:
        return Max(as_strategy(other), self)

    def __mul__(self, factor: float) -> Strategy:
        return Scaled(factor, self)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Strategy) and self.spec() == other.spec()

    def __hash__(self) -> int:
        return hash(repr(self.spec()))

    def __repr__(self) -> str:
        return f"<Strategy {self.spec()!r}>"


StrategyLike = Union[Strategy, Callable[["Tokens"], "npt.ArrayLike"]]  # noqa: UP007 (evaluated at import, where | refuses strings)


def as_strategy(value: StrategyLike) -> Strategy:
    """A strategy as it is; a bare function of tokens becomes one."""
    if isinstance(value, Strategy):
        return value
    if isinstance(value, type):
        if issubclass(value, Strategy):
            return value()
    elif callable(value):
        return Function(value)
    raise ConfigError(f"expected a strategy or a function of tokens, found {value!r} ({type(value).__name__})")


class _Composite(Strategy):
    """Several strategies that act as one."""

    word: ClassVar[str]

    def __init__(self, *parts: StrategyLike) -> None:
        super().__init__()
        self.take(*parts)
        if not self.inner:
            raise ConfigError(f"{{{self.word}: [...]}} needs at least one strategy")

    @property
    def label(self) -> str:
        return f"{self.word}({', '.join(part.label for part in self.inner)})"

    def spec(self) -> Any:
        return {self.word: [part.spec() for part in self.inner]}


class Product(_Composite):
    """``a & b``: the weights multiplied."""

    word = "product"

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        result = weights_of(self.inner[0], tokens)
        for part in self.inner[1:]:
            result = result * weights_of(part, tokens)
        return result


class Max(_Composite):
    """``a | b``: the larger weight of each token. For unsigned strategies only: the larger of two signed weights means nothing."""

    word = "max"

    def __init__(self, *parts: StrategyLike) -> None:
        super().__init__(*parts)
        for part in self.inner:
            if part.signed:
                raise ConfigError(
                    f"strategy {part.label!r} gives negative weights, and the larger of two signed weights has no meaning; use a product"
                )

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        import numpy as np

        result = weights_of(self.inner[0], tokens)
        for part in self.inner[1:]:
            result = np.maximum(result, weights_of(part, tokens))
        return result


class Scaled(Strategy):
    """``factor * a``: every weight times a number."""

    def __init__(self, factor: float, strategy: StrategyLike) -> None:
        super().__init__()
        self.factor = _finite(factor)
        self.take(strategy)
        if self.factor < 0 and not self.signed:
            raise ConfigError(
                f"scale is {self.factor}: a negative factor needs a strategy that declares signed = True; {self.strategy.label!r} is not"
            )

    @property
    def strategy(self) -> Strategy:
        """What is scaled."""
        return self.inner[0]

    @property
    def label(self) -> str:
        return f"{self.factor:g} * {self.strategy.label}"

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        return self.factor * weights_of(self.strategy, tokens)

    def spec(self) -> Any:
        return {"scale": self.factor, "strategy": self.strategy.spec()}


class Function(Strategy):
    """A bare function of tokens as a strategy. It has no spec that a config could hold.

    What a strategy declares on its class stands, where it is needed, as an attribute of the function: ``f.signed = True``.
    """

    def __init__(self, function: Callable[[Tokens], npt.ArrayLike]) -> None:
        super().__init__()
        self.function = function
        for name in _DECLARATIONS:
            setattr(self, name, getattr(function, name, getattr(Strategy, name)))

    @property
    def label(self) -> str:
        return str(getattr(self.function, "__name__", self.function))

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        return self.function(tokens)

    def spec(self) -> Any:
        return self.function


class FromFile(Strategy):
    """A strategy class loaded from a file; its spec is the file, not the class's name."""

    def __init__(self, selection: str, strategy: Strategy) -> None:
        super().__init__()
        self.selection, self.strategy = selection, strategy
        for name in _DECLARATIONS:
            setattr(self, name, getattr(strategy, name))

    @property
    def label(self) -> str:
        return self.selection

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        return self.strategy.weights(tokens)

    def spec(self) -> Any:
        chosen = self.strategy.options.model_dump(mode="json", exclude_unset=True, by_alias=True)
        return {"name": self.selection, **chosen} if chosen else self.selection


def weights_of(strategy: Strategy, tokens: Tokens) -> npt.NDArray[Any]:
    """The weights of one strategy: float64 [T], every entry checked.

    Raises StrategyError, naming strategy, record and token, where the result is not one finite number per token, or is negative although
    the strategy does not declare ``signed = True``.
    """
    import numpy as np

    returned = _asked(strategy, tokens)
    try:
        given = np.asarray(returned)
        if given.dtype.kind not in "biufO":  # texts, dates and complex numbers would be converted without a word
            raise TypeError(f"its entries are of type {given.dtype}")
        weights = given.astype(np.float64)
    except Exception as error:  # arrays of other libraries raise what they like, such as a tensor that requires gradients
        raise StrategyError(
            f"strategy {strategy.label!r} returned {type(returned).__name__} for {tokens.record.source}, not an array of numbers: "
            f"{' '.join(str(error).split())}"
        ) from None
    if weights.shape != (len(tokens),):
        raise StrategyError(
            f"strategy {strategy.label!r} returned shape {weights.shape} for {tokens.record.source}, "
            f"expected ({len(tokens)},): one weight per token"
        )
    bad = ~np.isfinite(weights) | (np.abs(weights) > np.finfo(np.float32).max)
    if bad.any():
        raise StrategyError(_bad_weight(strategy, tokens, int(bad.argmax()), weights, "a finite float32"))
    if not strategy.signed and (weights < 0).any():
        raise StrategyError(
            _bad_weight(
                strategy, tokens, int((weights < 0).argmax()), weights, "0 or more; declare signed = True if negative weights are meant"
            )
        )
    return weights


def _asked(strategy: Strategy, tokens: Tokens) -> npt.ArrayLike:
    """What a strategy returns; whatever it raises names it and the row."""
    try:
        return strategy.weights(tokens)
    except (StrategyError, DataError):  # a row that is wrong is no fault of the strategy
        raise
    except (Exception, SystemExit) as error:  # a strategy is a stranger's code
        reason = str(error) if isinstance(error, MaskkitError) else " ".join(f"{type(error).__name__}: {error}".split())
        raise StrategyError(f"strategy {strategy.label!r} failed on {tokens.record.source}: {reason}") from error


def _bad_weight(strategy: Strategy, tokens: Tokens, index: int, weights: npt.NDArray[Any], expected: str) -> str:
    return (
        f"strategy {strategy.label!r} gave token {index} ({tokens.piece(index)!r}, kind {tokens.kind[index]}) of {tokens.record.source} "
        f"the weight {weights[index]}, expected {expected}"
    )


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f"scale is {value!r}, expected a finite number")
    return float(value)


def _options_error(label: str, options: type[BaseModel], error: ValidationError) -> str:
    """One line for the first thing wrong with a strategy's options."""
    first = error.errors()[0]
    where = _path(first["loc"])
    if first["type"] == "extra_forbidden":
        model = _model_at(options, first["loc"][:-1]) or options
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"strategy {label!r} has no option {where!r}.{suggest(str(first['loc'][-1]), known)}"
    return f"strategy {label!r}: option {where!r} is {first['input']!r}: {str(first['msg']).removeprefix('Value error, ')}"


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _model_at(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The nested options class at a location, so that a wrong name is compared with the right names."""
    for part in loc:
        if isinstance(part, int) or model is None:
            continue
        field = model.model_fields.get(part)
        model = _nested_model(field.annotation) if field is not None else None
    return model


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_nested_model, get_args(annotation)) if found is not None), None)
