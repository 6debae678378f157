"""How a data set is prepared: everything that its files depend on beside the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from maskkit.errors import ConfigError
from maskkit.masker import Masker
from maskkit.masker.fingerprints import template_fingerprint, tokenizer_fingerprint
from maskkit.models import load_tokenizer
from maskkit.plugins import origins_of

if TYPE_CHECKING:
    from maskkit.strategy import Strategy

FORMS = ("lists", "runs")
"""How weights are stored: a number per token, or runs of equal ones."""

REFERENCE = "reference_log_probs"
"""The one column that prepared files have for loss modifiers."""


@dataclass(frozen=True)
class Settings:
    """What a process needs to prepare rows; it can be sent to workers, and is written into the manifest."""

    model: str
    """Whose tokenizer is used."""
    strategy: Any = "assistant-only"
    """A selection, as a config writes it."""
    max_length: int | None = None
    truncation: str = "right"
    history: str = "as-rendered"
    control_tokens: str = "escape"
    reasoning_tags: Sequence[Sequence[str]] = ()
    template_kwargs: dict[str, Any] | None = None
    stop_token_ids: Sequence[int] = ()
    """Beside the tokenizer's own, such as the generation config's."""
    inline_reasoning: bool = False
    trust_remote_code: bool = False
    seed: int = 0
    date: str = field(default_factory=lambda: datetime.now().isoformat())
    """What templates print as today, in ISO format."""
    weights: str = "lists"
    """``lists``: a column loss_weights. ``runs``: columns weight_values and weight_lengths."""
    labels: bool = False
    """A column labels too: the id where the weight is 1, -100 where it is 0."""
    reference: str | None = None
    """A model whose log-probabilities of the tokens become a column reference_log_probs (`REFERENCE`)."""
    bf16: bool = False
    """Ask it in bfloat16."""

    def __post_init__(self) -> None:
        if self.weights not in FORMS:
            raise ConfigError(f"weights is {self.weights!r}, expected {' or '.join(map(repr, FORMS))}")

    def masker(self) -> Masker:
        """The data path of these settings; loads the tokenizer. Raises ConfigError for settings that cannot be."""
        masker = Masker(
            load_tokenizer(self.model, trust_remote_code=self.trust_remote_code),
            self.strategy,
            max_length=self.max_length,
            truncation=self.truncation,
            history=self.history,
            control_tokens=self.control_tokens,
            template_kwargs=self.template_kwargs,
            date=datetime.fromisoformat(self.date),
            stop_token_ids=self.stop_token_ids,
            reasoning_tags=self.reasoning_tags,
            seed=self.seed,
        )
        _refuse_modifiers(masker.strategy)
        return masker

    def described(self, masker: Masker) -> dict[str, Any]:
        """For the manifest, in JSON's types: the settings, and fingerprints of what their names stand for."""
        tokenizer = masker.tokenizer
        return {
            **asdict(self),
            "strategy": masker.strategy.spec(),
            "strategies": origins_of(masker.strategy),
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "template": template_fingerprint(tokenizer),
        }


def _refuse_modifiers(strategy: Strategy) -> None:
    """Raises ConfigError for a strategy with loss modifiers: files hold weights, and what a modifier makes of them is known at the loss."""
    if not strategy.modifiers:
        return
    names = " and ".join(repr(modifier.label) for modifier in strategy.modifiers)
    columns = {column for modifier in strategy.modifiers for column in modifier.token_columns}
    if any(part.spec() == modifier.spec() for part in _parts(strategy) for modifier in strategy.modifiers):
        cure = "train on the rows themselves, with the same strategy"  # it goes between weights of which files would hold neither
    elif columns - {REFERENCE}:
        cure = f"it reads {', '.join(sorted(columns))} of the rows, which files would not hold: train on the rows themselves"
    else:
        trained = {"product": ["from-data", *(modifier.spec() for modifier in strategy.modifiers)]}
        shown = yaml.safe_dump(trained, default_flow_style=True, sort_keys=False, width=math.inf).strip()
        reference = " and with --reference MODEL" if columns else ""
        cure = f"prepare with the strategy without it{reference}, and train on the folder with  strategy: {shown}"
    raise ConfigError(
        f"strategy {strategy.label!r} weighs anew by {names} when the loss is computed, which no stored weight can say: {cure}"
    )


def _parts(strategy: Strategy) -> Iterator[Strategy]:
    """The strategy and all that it is made of."""
    yield strategy
    for part in strategy.inner:
        yield from _parts(part)
