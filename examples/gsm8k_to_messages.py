"""Turn GSM8K rows into conversations whose steps are reasoning and whose result is the answer.

    python examples/gsm8k_to_messages.py train.jsonl data/gsm8k.jsonl
    maskkit train examples/smollm2.yaml --set data.train=data/gsm8k.jsonl

A row {"question": ..., "answer": "<steps>\\n#### <result>"} becomes a user message with the question and an assistant message with the
steps as `reasoning_content` and the result as `content`. The calculator marks <<48/2=24>> inside the steps are left out.
GSM8K: https://github.com/openai/grade-school-math (MIT).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


def conversation(row: dict[str, Any]) -> dict[str, Any]:
    """The row in messages form. Raises ValueError, with what is wrong, if it is no GSM8K row."""
    texts = [row.get(field) if isinstance(row, dict) else None for field in ("question", "answer")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("expected an object with texts 'question' and 'answer'")
    question, answer = texts
    steps, mark, result = answer.rpartition("\n####")
    if not mark or not result.strip():
        raise ValueError("'answer' has no last line '#### result'")
    assistant = {"role": "assistant", "reasoning_content": CALCULATOR_MARK.sub("", steps).strip(), "content": result.strip()}
    return {"messages": [{"role": "user", "content": question.strip()}, assistant]}


def convert(source: Path, target: Path) -> int:
    """Write one conversation per row of ``source``; returns how many. Nothing is written if any row is wrong."""
    lines = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                lines.append(json.dumps(conversation(json.loads(line)), ensure_ascii=False) + "\n")
            except ValueError as error:
                raise ValueError(f"{source}:{number}: {error}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="GSM8K's train.jsonl or test.jsonl")
    parser.add_argument("target", type=Path, help="the file to write")
    given = parser.parse_args()
    try:
        count = convert(given.source, given.target)
    except (OSError, ValueError) as error:
        sys.exit(f"gsm8k_to_messages: {error}")
    print(f"{count} conversations in {given.target}")


if __name__ == "__main__":
    main()
