"""The package ``renderers``: which of its renderers is asked, and what it makes of a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from maskkit.errors import ConfigError, MissingExtraError, UnknownNameError

try:
    import renderers
    from renderers.base import MODEL_RENDERER_MAP
except ImportError as error:
    raise MissingExtraError(error.name or "renderers", "renderers", "a second opinion on masks (Python 3.11 or newer)") from error

if TYPE_CHECKING:
    from maskkit.records import Record

_DATES: Mapping[str, str] = {"date_string": "%d %b %Y", "conversation_start_date": "%Y-%m-%d"}
"""Options of renderers that name the day their text prints, and how they write it."""
_NOT_A_FAMILY = frozenset({"auto", "default", "custom"})
"""Names without a renderer of their own: ``default`` asks transformers, which is no second opinion."""


class RefusedError(Exception):
    """The renderer does not render the conversation; the message says why, in its words."""


class MalformedError(Exception):
    """What the renderer gives is not one label per token."""


@dataclass(frozen=True, eq=False, slots=True)
class Opinion:
    """What a renderer says of a conversation.

    ids: int64 [T]. owner: int64 [T], the message each token belongs to, -1 for none. generated: bool [T], would the model sample it?
    content: bool [T], does it come from the conversation rather than from the template? None where a renderer does not say.
    """

    ids: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]
    generated: npt.NDArray[np.bool_] | None
    content: npt.NDArray[np.bool_] | None


class SecondRenderer:
    """A renderer of the package for one tokenizer.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        renderer: a name such as ``qwen3``; a mapping with ``name`` and the renderer's own options; a config or a renderer of the package;
            or None for the one that the package itself takes for the tokenizer's ``name_or_path``.
        date: the day that texts print, where the renderer has an option for it and ``renderer`` does not set it.

    Raises ConfigError for a model that the package has no renderer for, options it does not have, or a tokenizer without its tokens;
    UnknownNameError for another name.
    """

    def __init__(self, tokenizer: Any, renderer: Any, date: datetime) -> None:
        self._tokenizer = tokenizer
        self._config: Any = None
        self._made: dict[str, Any] = {}
        if hasattr(renderer, "render"):
            self._made["{}"] = renderer
        else:
            self._config = _dated(_config_of(tokenizer, renderer), date)
            self._made["{}"] = self._first()
        self.name: str = getattr(self._config, "name", type(renderer).__name__)
        """Of the renderer, with the package's version: ``qwen3 (renderers 0.1.12)``."""
        self.name += f" (renderers {renderers.__version__})"

    def __call__(self, record: Record, template_kwargs: Mapping[str, Any]) -> Opinion:
        """Render the conversation of a record. Raises RefusedError, MalformedError."""
        messages = [dict(message) for message in record.messages]
        try:
            found = self._renderer(template_kwargs).render(messages, tools=record.tools)
        except RefusedError:
            raise
        except Exception as error:  # renderers raise what Python raises, an AssertionError or a KeyError for example
            raise RefusedError(_one_line(error)) from error
        columns = {"message_indices": found.message_indices, "sampled_mask": found.sampled_mask, "is_content": found.is_content}
        for name, column in columns.items():
            if len(column) != len(found.token_ids) and (len(column) or name == "message_indices"):
                raise MalformedError(f"{name} has {len(column)} entries for {len(found.token_ids)} tokens")
        return Opinion(
            np.array(found.token_ids, np.int64),
            np.array(found.message_indices, np.int64),
            np.array(found.sampled_mask, np.bool_) if found.sampled_mask else None,
            np.array(found.is_content, np.bool_) if found.is_content else None,
        )

    def _renderer(self, template_kwargs: Mapping[str, Any]) -> Any:
        key = json.dumps(dict(template_kwargs), sort_keys=True, default=str)
        if key not in self._made:
            if self._config is None:
                raise RefusedError(f"a renderer that is made already takes no template arguments ({', '.join(template_kwargs)})")
            self._made[key] = self._create(template_kwargs)
        return self._made[key]

    def _first(self) -> Any:
        try:
            return self._create({})
        except Exception as error:  # a missing token is an AssertionError, a vocabulary that cannot be loaded one of its own
            raise ConfigError(f"renderer {self._config.name!r} cannot be used with this tokenizer: {_one_line(error)}") from error

    def _create(self, template_kwargs: Mapping[str, Any]) -> Any:
        return renderers.create_renderer(self._tokenizer, self._config, chat_template_kwargs=dict(template_kwargs) or None)


def known_renderers() -> list[str]:
    """Names of the renderers of the package, each for a family of models."""
    return sorted(_families())


def _families() -> dict[str, Any]:
    """The class of each renderer's options, by name."""
    union, *_ = get_args(renderers.RendererConfig)
    classes = {kind.model_fields["name"].default: kind for kind in get_args(union)}
    return {name: kind for name, kind in classes.items() if name not in _NOT_A_FAMILY}


def _config_of(tokenizer: Any, renderer: Any) -> Any:
    if isinstance(renderer, renderers.BaseRendererConfig):
        name, config = renderer.name, renderer
    elif renderer is None:
        name, config = _name_for(tokenizer), None
    elif isinstance(renderer, str):
        name, config = renderer, None
    elif isinstance(renderer, Mapping) and isinstance(renderer.get("name"), str):
        name, config = renderer["name"], None
    else:
        raise ConfigError(f"renderer is {renderer!r}, expected a name, or a mapping with 'name' and the renderer's options")
    if name == "default":
        raise ConfigError("renderer 'default' asks transformers for its text, so it is no second opinion: name the renderer of the family")
    if config is not None:
        return config
    if name not in known_renderers():
        raise UnknownNameError("renderer", name, known_renderers())
    options = {key: value for key, value in renderer.items() if key != "name"} if isinstance(renderer, Mapping) else {}
    try:
        return _families()[name](**options)
    except ValueError as error:
        raise ConfigError(f"renderer {name!r} does not take these options: {_one_line(error)}") from error


def _name_for(tokenizer: Any) -> str:
    model = str(getattr(tokenizer, "name_or_path", ""))
    if model not in MODEL_RENDERER_MAP:
        raise ConfigError(
            f"the package renderers has no renderer for {model!r}, since it knows models by their hub name: name one, "
            f"of {', '.join(known_renderers())}"
        )
    return str(MODEL_RENDERER_MAP[model])


def _dated(config: Any, date: datetime) -> Any:
    """The config with the day that maskkit's own text prints."""
    unset = [name for name in _DATES if name in type(config).model_fields and name not in config.model_fields_set]
    if not unset:
        return config
    given = {name: getattr(config, name) for name in config.model_fields_set}
    return type(config)(**given, **{name: date.strftime(_DATES[name]) for name in unset})


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
