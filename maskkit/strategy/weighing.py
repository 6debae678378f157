"""Asking a strategy, and checking what it answers."""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from maskkit.errors import DataError, MaskkitError, StrategyError
from maskkit.strategy.columns import column_of
from maskkit.strategy.slow import told_if_slow

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.strategy.contract import Strategy
    from maskkit.tokens import Tokens


def weights_of(strategy: Strategy, tokens: Tokens) -> npt.NDArray[Any]:
    """The weights of one strategy: float64 [T], every entry checked.

    Raises StrategyError, naming strategy, record and token, where the result is not one finite number per token, or is negative although
    the strategy does not declare ``signed = True``; DataError where the row lacks a column that the strategy reads.
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
    for name in () if strategy.inner else strategy.token_columns:  # what it is made of is asked by itself
        column_of(tokens, name)
    try:
        with told_if_slow(f"{tokens.record.source}: strategy {strategy.label!r}"):
            return strategy.weights(tokens)
    except (StrategyError, DataError):  # a row that is wrong is no fault of the strategy
        raise
    except (Exception, SystemExit) as error:  # a strategy is a stranger's code
        reason = str(error) if isinstance(error, MaskkitError) else " ".join(f"{type(error).__name__}: {error}".split())
        raise StrategyError(f"strategy {strategy.label!r} failed on {tokens.record.source}: {reason}{_raised_at(error)}") from error


def _raised_at(error: BaseException) -> str:
    """The line of the strategy's own file that led to an error; nothing where that is a file of maskkit."""
    frames = [(frame.f_code.co_filename, line, str(frame.f_globals.get("__name__"))) for frame, line in walk_tb(error.__traceback__)]
    own = next((file for file, _, module in frames if module.partition(".")[0] != "maskkit"), None)
    lines = [line for file, line, _ in frames if file == own]
    return f" (raised at {own}:{lines[-1]})" if lines else ""


def _bad_weight(strategy: Strategy, tokens: Tokens, index: int, weights: npt.NDArray[Any], expected: str) -> str:
    return (
        f"strategy {strategy.label!r} gave token {index} ({tokens.piece(index)!r}, kind {tokens.kind[index]}) of {tokens.record.source} "
        f"the weight {weights[index]}, expected {expected}"
    )
