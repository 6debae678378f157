"""What ``preview`` and ``explain`` are about: data, a tokenizer and strategies, from a config or from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

from maskkit.errors import ConfigError, DataError, UnknownNameError

if TYPE_CHECKING:
    from maskkit.records import Record


@dataclass(frozen=True)
class Request:
    """A config's model, strategy and data, with the command's own in their place where given."""

    model: str
    strategies: list[Any]
    data: list[str]
    inline_reasoning: bool = False
    max_length: int | None = None
    template_kwargs: dict[str, Any] | None = None
    trust_remote_code: bool = False
    truncation: str = "right"
    history: str = "as-rendered"
    control_tokens: str = "escape"
    reasoning_tags: Sequence[Sequence[str]] = ()

    def records(self, row: int | None, rows: int | None) -> list[Record]:
        """Row ``row``, counted from 0, or the first ``rows`` (by default one). Raises DataError where there is none, or it is bad."""
        from maskkit.records import read_rows, readable, with_inline_reasoning

        every = (record for path in self.data for record in read_rows(path))
        found = [*map(readable, islice(every, row, row + 1) if row is not None else islice(every, rows or 1))]
        if not found:
            where = ", ".join(self.data)
            raise DataError(f"{where}: there is no row {row}; rows are counted from 0" if row is not None else f"{where}: no row is in it")
        return [with_inline_reasoning(record) for record in found] if self.inline_reasoning else found

    def options(self) -> dict[str, Any]:
        """What `maskkit.preview` and `maskkit.explain` take, the tokenizer among it: loads it, and the strategies."""
        from maskkit.inspect.stops import generation_stop_ids
        from maskkit.models import load_tokenizer
        from maskkit.plugins import load_strategy

        strategies = [load_strategy(spec) for spec in self.strategies]
        return {
            "tokenizer": load_tokenizer(self.model, trust_remote_code=self.trust_remote_code),
            "tokenizer_name": self.model,
            "strategies": strategies,
            "stop_token_ids": generation_stop_ids(self.model, trust_remote_code=self.trust_remote_code),
            "max_length": self.max_length,
            "truncation": self.truncation,
            "history": self.history,
            "control_tokens": self.control_tokens,
            "reasoning_tags": self.reasoning_tags,
            "template_kwargs": self.template_kwargs,
        }


def requested(
    source: str, model: str | None, strategy: list[str] | None, overrides: list[str] | None, *, inline: bool, history: str | None
) -> Request:
    """What the command line asks for. Raises ConfigError for data without a model, UnknownNameError for a history that is none."""
    from maskkit.config.loading import parsed_yaml

    if history is not None:
        one_of("--history", history, choices("history"))
    request = _of_config(source, overrides) if is_config(source) else _of_data(source, model, overrides)
    return replace(
        request,
        model=model or request.model,
        strategies=[parsed_yaml(text, f"--strategy {text}") for text in strategy or ()] or request.strategies,
        inline_reasoning=inline or request.inline_reasoning,
        history=history or request.history,
    )


def one_of(option: str, value: str, known: Iterable[str]) -> None:
    """Raises UnknownNameError unless the value of an option is one of those known."""
    if value not in known:
        raise UnknownNameError(f"value of {option}", value, known)


def choices(key: str) -> tuple[str, ...]:
    """The names that a config may have under a key."""
    from maskkit.config import RunConfig

    return get_args(RunConfig.model_fields[key].annotation)


def is_config(source: str) -> bool:
    """Does a command's argument name a config, rather than data?"""
    from maskkit.config.loading import BUNDLED, ENDINGS

    return source == BUNDLED or source.lower().endswith(ENDINGS)


def _of_config(source: str, overrides: list[str] | None) -> Request:
    from maskkit.config import RunConfig

    config = RunConfig.load(source, overrides or ())
    return Request(
        model=config.model,
        strategies=[config.strategy],
        data=[file.path for file in config.data.sources],
        inline_reasoning=config.data.reasoning == "inline",
        max_length=config.max_length,
        template_kwargs=config.chat_template_kwargs,
        trust_remote_code=config.trust_remote_code,
        truncation=config.truncation,
        history=config.history,
        control_tokens=config.control_tokens,
        reasoning_tags=config.reasoning_tags,
    )


def _of_data(source: str, model: str | None, overrides: list[str] | None) -> Request:
    if model is None:
        raise ConfigError(f"{source} is data, so it does not say which tokenizer and template to use: add --model (or give a config)")
    if overrides:
        raise ConfigError(f"--set changes a config, but {source} is data")
    return Request(model, ["assistant-only"], [source])
