"""Strategies made of others.

The operators of `Strategy` and `LossModifier` make them, and they are strategies themselves: the one circle of imports in this package, so
those two modules import this one where the operators are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

from maskkit.errors import ConfigError
from maskkit.strategy.contract import DECLARATIONS, Strategy, StrategyLike, as_strategy
from maskkit.strategy.modifier import LossModifier, alone, as_modifier
from maskkit.strategy.options import selection_of
from maskkit.strategy.weighing import weights_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens


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
    """``a & b``: the weights multiplied. Loss modifiers among the parts act on that product when the loss is computed."""

    word = "product"

    def __init__(self, *parts: StrategyLike | LossModifier) -> None:
        self.parts = tuple(as_modifier(part) or as_strategy(part) for part in parts)
        own = [part for part in self.parts if isinstance(part, LossModifier)]
        strategies = [part for part in self.parts if isinstance(part, Strategy)]
        if own and not strategies:
            raise alone(own[0])
        super().__init__(*strategies)
        self.modifiers = (*self.modifiers, *own)
        self.signed = self.signed or any(modifier.signed for modifier in own)
        columns = [column for modifier in own for column in modifier.token_columns]
        self.token_columns = tuple(dict.fromkeys([*self.token_columns, *columns]))

    @property
    def label(self) -> str:
        return f"{self.word}({', '.join(part.label for part in self.parts)})"

    def spec(self) -> Any:
        return {self.word: [part.spec() for part in self.parts]}

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

        if self.modifiers:
            raise ConfigError(
                f"{{max: [...]}} takes the larger of weights that are known before the loss, and {self.modifiers[0].label!r} acts when "
                f"the loss is computed: multiply afterwards, as {{product: [{{max: [...]}}, {self.modifiers[0].label}]}}"
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
        for name in (*DECLARATIONS, "token_columns"):
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
        for name in (*DECLARATIONS, "modifiers", "token_columns"):
            setattr(self, name, getattr(strategy, name))

    @property
    def label(self) -> str:
        return self.selection

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        return self.strategy.weights(tokens)

    def spec(self) -> Any:
        return selection_of(self.selection, self.strategy.options)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f"scale is {value!r}, expected a finite number")
    return float(value)
