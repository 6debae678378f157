"""How a data set is prepared: everything that its files depend on beside the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from maskkit.errors import ConfigError
from maskkit.masker import Masker
from maskkit.masker.fingerprints import template_fingerprint, tokenizer_fingerprint
from maskkit.models import load_tokenizer
from maskkit.plugins import origins_of

FORMS = ("lists", "runs")
"""How weights are stored: a number per token, or runs of equal ones."""


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
    """A model whose log-probabilities of the tokens become a column reference_log_probs."""
    bf16: bool = False
    """Ask it in bfloat16."""

    def __post_init__(self) -> None:
        if self.weights not in FORMS:
            raise ConfigError(f"weights is {self.weights!r}, expected {' or '.join(map(repr, FORMS))}")

    def masker(self) -> Masker:
        """The data path of these settings; loads the tokenizer. Raises ConfigError for settings that cannot be."""
        return Masker(
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
