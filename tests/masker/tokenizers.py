"""A small real tokenizer of every sort in use, trained on a few lines; blanks, bytes and normalisation are those of the families."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "Is it true? Yes, it is: 12 + 30 = 42.\nNo, it is not.\n\n    indented = code(x)",
    "ねこがねている。いぬもねている。ありがとうございます。",
    "مرحبا بالعالم، كيف حالك؟ שלום עולם",
    "Été, où ça? Über süße Äpfel. Ångström",
    "user assistant system tool think answer reply",
] * 4
SPECIAL = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>")
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['reasoning_content'] %}<think>\n{{ message['reasoning_content'] }}\n</think>\n\n{% endif %}"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _byte_level(trim: bool = False, normalizer: Any = None, prefix: bool = False) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    backend.normalizer = normalizer
    backend.post_processor = processors.ByteLevel(trim_offsets=trim, add_prefix_space=prefix)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    return backend


def byte_level() -> Any:
    """GPT-2's, with exact offsets."""
    return _byte_level()


def byte_level_trimmed() -> Any:
    """GPT-2's as shipped: blanks in front of words are left out of the offsets."""
    return _byte_level(trim=True)


def byte_level_prefix() -> Any:
    """RoBERTa's: a blank is put before every text."""
    return _byte_level(trim=True, prefix=True)


def byte_level_nfc() -> Any:
    """Qwen's: composed characters."""
    from tokenizers import normalizers

    return _byte_level(normalizer=normalizers.NFC())


def byte_level_nfkc() -> Any:
    """Ligatures, wide letters and fractions are taken apart."""
    from tokenizers import normalizers

    return _byte_level(normalizer=normalizers.NFKC())


def byte_level_lower() -> Any:
    """Lower-casing, also of letters that become two."""
    from tokenizers import normalizers

    return _byte_level(normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()]))


def tiktoken() -> Any:
    """Llama 3's and tekken's: split by one expression, then bytes; a whole piece that is in the vocabulary is taken as it is."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(ignore_merges=True))
    expression = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    split = pre_tokenizers.Split(Regex(expression), behavior="isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    return backend


def _bytes() -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)]


def sentencepiece_bpe() -> Any:
    """Llama 2's as converted today: Metaspace before the first word only, bytes for what the vocabulary lacks."""
    return _sentencepiece_bpe(legacy=False)


def sentencepiece_bpe_legacy() -> Any:
    """Llama 2's as converted first: the blank is a normalisation, put before every stretch between added tokens."""
    return _sentencepiece_bpe(legacy=True)


def _sentencepiece_bpe(legacy: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=760, special_tokens=["<unk>", "<s>", "</s>", *_bytes()], limit_alphabet=120, show_progress=False
    )
    trained.train_from_iterator(CORPUS, trainer)
    import json

    spec = json.loads(trained.to_str())
    merges = [tuple(merge) for merge in spec["model"]["merges"]]
    backend = Tokenizer(models.BPE(spec["model"]["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if legacy:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return backend


def unigram() -> Any:
    """T5's and XLNet's: pieces of most probable cut, NFKC and lower case off; characters it lacks are unknown."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def unigram_bytes() -> Any:
    """Unigram with bytes for what the vocabulary lacks."""
    import json

    from tokenizers import Tokenizer

    spec = json.loads(unigram().to_str())
    spec["normalizer"] = None
    spec["model"]["vocab"] += [[piece, -20.0] for piece in _bytes()]
    spec["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(spec))


def wordpiece() -> Any:
    """BERT's: lower case without accents, words between blanks, blanks have no token."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False))
    return backend


SORTS: dict[str, Callable[[], Any]] = {
    build.__name__: build
    for build in (
        byte_level, byte_level_trimmed, byte_level_prefix, byte_level_nfc, byte_level_nfkc, byte_level_lower, tiktoken,
        sentencepiece_bpe, sentencepiece_bpe_legacy, unigram, unigram_bytes, wordpiece,
    )
}  # fmt: skip


@cache
def tokenizer_of(sort: str, template: str = TEMPLATE) -> Any:
    """The tokenizer of one sort, with ChatML's control tokens, and its template or another."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    backend = SORTS[sort]()
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in TAGS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<|im_end|>", unk_token="<unk>")
    tokenizer.chat_template = template
    return tokenizer
