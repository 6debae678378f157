"""The stop tokens that a model's generation config names, without loading the model: a preview must show what training would see."""

from __future__ import annotations

from maskkit.models import SMOLLM2, TINY


def generation_stop_ids(name: str, *, trust_remote_code: bool = False) -> frozenset[int]:
    """Ids at which the model stops when it generates, beside its tokenizer's own.

    None for the models that come with maskkit or a package of it, which stop at their tokenizer's, and for a folder that holds a tokenizer
    and no model.
    """
    if name in (TINY, SMOLLM2):
        return frozenset()
    from transformers import AutoConfig, GenerationConfig

    try:
        stops = GenerationConfig.from_pretrained(name).eos_token_id
    except OSError:  # no generation_config.json: transformers then takes the model config's
        try:
            stops = getattr(AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code), "eos_token_id", None)
        except (OSError, ValueError):  # no model there, only a tokenizer
            stops = None
    return frozenset([stops] if isinstance(stops, int) else stops or ())
