"""The contract of a strategy: tokens -> weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

from maskkit.errors import ConfigError, StrategyError
from maskkit.strategy.modifier import LossModifier, alone
from maskkit.strategy.options import Configured

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens

Spec = Union[str, "dict[str, Any]"]
"""A selection as it stands in a config: a name, or a mapping (name and options, product, max, scale)."""

DECLARATIONS = ("signed", "needs_attribution", "reads_data_weights")
"""What a strategy declares beside its weights."""


class Strategy(Configured):
    """A named rule: tokens -> weights. Subclass it, give it a ``name`` and write `weights`.

    Attention is causal under every strategy. The name ``visibility`` is kept for an optional method of a later contract that says which
    tokens each may attend to, as a prefix language model needs; a class that defines it is refused until then.
    """

    sort = "strategy"

    signed: bool = False
    """Whether negative weights are meant."""

    needs_attribution: bool = True
    """Whether it matters who wrote a token. If so, tokens of unknown origin and tokens that straddle prompt and reply weigh 0."""

    reads_data_weights: bool = False
    """Whether it reads ``tokens.data_weights``. If not, weights in the data are reported as ignored."""

    inner: tuple[Strategy, ...] = ()
    """The strategies that it is made of."""

    modifiers: tuple[LossModifier, ...] = ()
    """The loss modifiers that act on its weights when the loss is computed. Their order says nothing."""

    def take(self, *inner: StrategyLike) -> None:
        """Say which strategies it is made of; it then declares what any of them does, and their loss modifiers are its own."""
        self.inner = tuple(as_strategy(part) for part in inner)
        for name in DECLARATIONS:
            setattr(self, name, any(getattr(part, name) for part in self.inner))
        self.modifiers = tuple(modifier for part in self.inner for modifier in part.modifiers)
        self.token_columns = tuple(dict.fromkeys(column for part in self.inner for column in part.token_columns))

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        """How much the loss of predicting each token counts.

        Returns an array of T finite numbers (bools are fine), one per token, label-aligned: entry t belongs to ``tokens.ids[t]``. Must
        depend on ``tokens`` and the options alone.
        """
        raise StrategyError(f"strategy {self.label!r} does not define weights(self, tokens)")

    def __and__(self, other: StrategyLike | LossModifier) -> Strategy:
        return _combined("Product", self, other)

    def __rand__(self, other: StrategyLike | LossModifier) -> Strategy:
        return _combined("Product", other, self)

    def __or__(self, other: StrategyLike) -> Strategy:
        return _combined("Max", self, other)

    def __ror__(self, other: StrategyLike) -> Strategy:
        return _combined("Max", other, self)

    def __mul__(self, factor: float) -> Strategy:
        return _combined("Scaled", factor, self)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"<Strategy {self.spec()!r}>"


StrategyLike = Union[Strategy, Callable[["Tokens"], "npt.ArrayLike"]]  # noqa: UP007 (evaluated at import, where | refuses strings)


def as_strategy(value: StrategyLike | LossModifier) -> Strategy:
    """A strategy as it is; a bare function of tokens becomes one. Raises ConfigError for a loss modifier: it weighs nothing by itself."""
    if isinstance(value, Strategy):
        return value
    if isinstance(value, LossModifier) or (isinstance(value, type) and issubclass(value, LossModifier)):
        raise alone(value)
    if isinstance(value, type):
        if issubclass(value, Strategy):
            return value()
    elif callable(value):
        return _combined("Function", value)
    raise ConfigError(f"expected a strategy or a function of tokens, found {value!r} ({type(value).__name__})")


def _combined(name: str, *parts: Any) -> Strategy:
    """A combination of that class (see `maskkit.strategy.combining`)."""
    from maskkit.strategy import combining

    combination: Strategy = getattr(combining, name)(*parts)
    return combination
