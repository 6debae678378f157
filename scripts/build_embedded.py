"""Build what `maskkit.embedded` ships: the bundled conversations and the tokenizer trained on them.

    python scripts/build_embedded.py            # writes maskkit/embedded/{data,tokenizer}

Everything follows from the seed in `quickstart_data.py`, so running it again changes no byte of the conversations or of the tokenizer.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import quickstart_data
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EMBEDDED = Path(__file__).resolve().parent.parent / "maskkit" / "embedded"
VOCABULARY = 1000
CONTROL = ("<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
PIECES = "|".join(
    (
        r"\n",  # alone, so that a role header never runs into the text behind it
        r"\p{N}",  # single digits make arithmetic learnable by a tiny model
        r' ?[{\[]*"\w+"[:,}\] ]*',  # a JSON word with its quotes and brackets, so that tool schemas stay short
        r" ?\p{Han}+",  # Japanese has no spaces: words are cut where the script changes
        r" ?\p{Hiragana}+",
        r" ?[\p{Katakana}ー]+",
        r" ?\p{L}+",
        r" ?[^\s\p{L}\p{N}]+",
        r"\s",
    )
)
"""What merges stay within."""


def data_lines() -> list[str]:
    """The bundled rows, one JSON text each."""
    return [json.dumps(row, ensure_ascii=False) for row in quickstart_data.rows()]


def write_data(lines: list[str], path: Path) -> None:
    """Write the rows compressed, without the time of writing, so that the same rows give the same bytes."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), compresslevel=9, mtime=0))


def train(texts: list[str]) -> Tokenizer:
    """Byte-level BPE over the pieces of `PIECES`: any text is encoded and comes back unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = [AddedToken(text, special=True, normalized=False) for text in CONTROL]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TAGS),
        special_tokens=added,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in TAGS])
    return tokenizer


def training_texts(lines: list[str], template: str) -> list[str]:
    """What the chat template makes of the rows, cut at control tokens and tags, which are never split or merged."""
    blank = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=template)
    texts = []
    for line in lines:
        row = json.loads(line)
        text = blank.apply_chat_template(row["messages"], tools=row.get("tools"), tokenize=False)
        for mark in CONTROL + TAGS:
            text = text.replace(mark, "\n")
        texts.append(text)
    return texts


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json beside the hand-written chat_template.jinja."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|pad|>",
        "eos_token": "<|im_end|>",
        "additional_special_tokens": ["<|im_start|>", "<|endoftext|>"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "padding_side": "right",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Write both."""
    lines = data_lines()
    write_data(lines, EMBEDDED / "data" / "quickstart.jsonl.gz")
    folder = EMBEDDED / "tokenizer"
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    write_tokenizer(train(training_texts(lines, template)), folder)
    print(f"{len(lines)} conversations and a tokenizer of {VOCABULARY} tokens in {EMBEDDED}")


if __name__ == "__main__":
    main()
