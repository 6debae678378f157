"""GSM8K rows become conversations: the steps are reasoning, the result is the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maskkit import Masker, RunConfig, embedded
from maskkit.records import read_records

EXAMPLES = Path(__file__).parent.parent / "examples"
ROW = {"question": "Ann has 2 bags of 24 nuts. How many?", "answer": "Each has 24.\nShe has 2*24 = <<2*24=48>>48 nuts.\n#### 1,048"}


def convert(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    script = str(EXAMPLES / "gsm8k_to_messages.py")
    return subprocess.run([sys.executable, script, str(source), str(target)], capture_output=True, text=True)


def test_steps_become_reasoning_and_the_result_the_answer(tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps(ROW) + "\n\n" + json.dumps(ROW) + "\n")
    done = convert(tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl")
    assert done.returncode == 0, done.stderr
    first, second = read_records(tmp_path / "new" / "out.jsonl")
    assert first.messages == second.messages
    assert first.messages == (
        {"role": "user", "content": "Ann has 2 bags of 24 nuts. How many?"},
        {"role": "assistant", "reasoning_content": "Each has 24.\nShe has 2*24 = 48 nuts.", "content": "1,048"},
    )
    tokens, _ = Masker(embedded.tiny_tokenizer(), "assistant-only").tokens(first)
    reasoning = tokens.where(kind="reasoning")
    assert tokens.text[tokens.char_start[reasoning][0] : tokens.char_end[reasoning][-1]].startswith("<think>Each has 24.")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "Q", "answer": "no result"}', "'#### result'"),
        ('{"question": "Q", "answer": "steps\\n#### "}', "'#### result'"),
        ('{"question": "Q"}', "'question' and 'answer'"),
        ("[1]", "'question' and 'answer'"),
        ("{", "Expecting"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(tmp_path, line, said):
    (tmp_path / "in.jsonl").write_text(json.dumps(ROW) + "\n" + line + "\n")
    done = convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert done.returncode == 1
    assert f"{tmp_path / 'in.jsonl'}:2: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_missing_file_is_one_line(tmp_path):
    done = convert(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_config_for_the_real_model():
    config = RunConfig.load(EXAMPLES / "smollm2.yaml")
    assert config.model == "smollm2"
    assert config.data.reasoning == "inline"
    assert {**config.strategy, "rules": None} == {"name": "weighted", "reasoning": 0.3, "answer": 1.0, "rules": None}
    assert (config.training.max_steps, config.training.bf16) == (30, True)


PRINTS_CONTENT_ONLY = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_its_rule_takes_the_weight_from_empty_replies_alone():
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = PRINTS_CONTENT_ONLY
    row = next(row for row in embedded.quickstart_rows() if "tools" in row)
    example = Masker(tokenizer, RunConfig.load(EXAMPLES / "smollm2.yaml").strategy)(row)
    stops = example.tokens.where(kind="stop")
    assert example.loss_weights[stops].tolist() == [0.0, 1.0]
    assert [finding.code for finding in example.warnings] == ["dropped-text"]
