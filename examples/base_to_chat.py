"""From a base model to a chat model: the same engine, other data and another strategy.

A tiny model first reads plain text with ``causal``: every token counts, and it learns to go on writing. Then it sees conversations with
``assistant-only``: the same loop, but only what the assistant says counts, and it learns to reply and to stop. Both are asked one question.

    python examples/base_to_chat.py [--steps 200]
"""

import argparse
import json
import tempfile
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

import maskkit
from maskkit import embedded

QUESTION = {"role": "user", "content": "What is 12+9-4?"}


def as_text(row: dict) -> str:
    """What is said in a conversation, as prose without any chat markup."""
    said = []
    for message in row["messages"]:
        said += [message.get("reasoning_content"), message.get("content")]
    return " ".join(part for part in said if part)


def reply(model_dir: Path, length: int = 40) -> str:
    """What a saved model writes after the chat prompt of the question; plain transformers, no maskkit."""
    tokenizer, model = AutoTokenizer.from_pretrained(model_dir), AutoModelForCausalLM.from_pretrained(model_dir)
    prompt = tokenizer.apply_chat_template([QUESTION], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**prompt, max_new_tokens=length, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.decode(written[0, prompt["input_ids"].shape[1] :])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=200, help="optimizer steps of each stage")
    arguments.add_argument("--output-dir", type=Path, default=None, help="where to keep both runs (default: a temporary folder)")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.output_dir or Path(temporary)
        runs.mkdir(parents=True, exist_ok=True)
        texts = runs / "texts.jsonl"
        texts.write_text("".join(json.dumps({"text": as_text(row)}) + "\n" for row in embedded.quickstart_rows()), encoding="utf-8")
        training = {"max_steps": given.steps, "per_device_train_batch_size": 32, "learning_rate": 4e-3, "warmup_steps": given.steps // 10}

        base = maskkit.RunConfig.from_mapping(
            {"model": "tiny", "data": {"train": texts}, "strategy": "causal", "training": training, "output_dir": runs / "base"}
        )
        pretrained = maskkit.train(base)
        chat = maskkit.RunConfig.from_mapping(
            {
                "model": pretrained.model_dir,
                "data": {"train": "quickstart"},
                "strategy": "assistant-only",
                "training": training,
                "output_dir": runs / "chat",
            }
        )
        tuned = maskkit.train(chat)

        print(f"\nquestion:   {QUESTION['content']}")
        print(f"base model: {reply(pretrained.model_dir)!r}")
        print(f"chat model: {reply(tuned.model_dir)!r}")


if __name__ == "__main__":
    main()
