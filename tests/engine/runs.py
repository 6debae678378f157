"""Short runs of the embedded model, by config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from maskkit import embedded
from maskkit.config import RunConfig
from maskkit.engine.metrics import read_metrics

TIMES = {"seconds", "tokens_per_second", "date"}
TRAINING = {"max_steps": 6, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 3e-3, "warmup_steps": 2}
TRAINING |= {"eval_steps": 3, "log_kinds_every": 2}


def write_rows(path, count=24, make=None):
    make = make or (lambda n: chat(f"What is {n} + 1?", f"{n} and 1 make {n + 1}.", str(n + 1)))
    path.write_text("".join(json.dumps(make(n), ensure_ascii=False) + "\n" for n in range(count)))
    return str(path)


def chat(question, reasoning, answer):
    reply = {"role": "assistant", "reasoning_content": reasoning, "content": answer}
    return {"messages": [{"role": "user", "content": question}, reply]}


def config(tmp_path, name="run", **changes) -> RunConfig:
    rows = tmp_path / "rows.jsonl"
    if not rows.exists():
        write_rows(rows)
    values = {
        "model": "tiny",
        "data": {"train": str(rows), "eval": 0.25},
        "training": TRAINING | changes.pop("training", {}),
        "answers": {"count": 4, "max_new_tokens": 12},
        "output_dir": str(tmp_path / name),
    }
    return RunConfig.from_mapping(values | changes)


def dropout_model(folder: Path) -> str:
    """The embedded model with dropout, as a folder: its training draws random numbers in every step."""
    model, tokenizer = embedded.tiny_model(), embedded.tiny_tokenizer()
    model.config.attention_dropout = 0.2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def measured(metrics: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl holds, times aside."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line in read_metrics(metrics)]


def weights_of(folder: Path) -> bytes:
    """The parameters of a saved model, byte for byte."""
    tensors = load_file(folder / "model.safetensors")
    return b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))
