"""What comes with the package: conversations whose answers a program checks, a tokenizer, a tiny model, a config."""

from __future__ import annotations

import copy
import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError

from maskkit import embedded
from maskkit.config import RunConfig
from maskkit.embedded import puzzles
from maskkit.errors import DataError

ROOT = Path(__file__).parent.parent
ROWS = embedded.quickstart_rows()
TOKENIZER = embedded.tiny_tokenizer()


def row(question: str, system: str | None = None, *more: dict[str, object]) -> dict[str, object]:
    asked = [{"role": "system", "content": system}] if system else []
    return {"messages": [*asked, {"role": "user", "content": question}, *more]}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


# the conversations


def test_the_script_makes_the_bundled_rows_again():
    made = run("import json, sys; sys.path.insert(0, 'scripts'); import quickstart_data; print(json.dumps(list(quickstart_data.rows())))")
    assert json.loads(made) == ROWS


def test_a_few_thousand_different_rows_in_little_space():
    assert len({json.dumps(r, sort_keys=True) for r in ROWS}) == len(ROWS) == 4000
    shipped = [*embedded.QUICKSTART_DATA.parent.iterdir(), *(embedded.QUICKSTART_DATA.parent.parent / "tokenizer").iterdir()]
    assert sum(file.stat().st_size for file in shipped) < 400_000


def test_every_row_is_right_by_program():
    assert all(embedded.check_answer(r, r["messages"][-1]["content"]) for r in ROWS)


def test_the_checker_does_not_read_the_answers():
    for r in ROWS[:500]:
        blind = copy.deepcopy(r)
        for message in blind["messages"]:
            if message["role"] == "assistant":
                message["content"] = message["reasoning_content"] = "nonsense"
        assert embedded.expected_answer(blind) == r["messages"][-1]["content"]


def test_every_sort_of_conversation_occurs():
    questions = Counter()
    for r in ROWS:
        texts = [m["content"] for m in r["messages"] if m["role"] == "user"]
        family, language, _ = puzzles._parse(texts[0])
        questions[family.name, language] += 1
    assert set(questions) == {(family.name, language) for family in puzzles.FAMILIES for language in ("en", "ja")}
    assert min(questions.values()) > 100
    roles = Counter(m["role"] for r in ROWS for m in r["messages"])
    assert roles["system"] > 1000
    assert roles["tool"] > 500
    assert sum("tool_calls" in m for r in ROWS for m in r["messages"]) == roles["tool"] == sum("tools" in r for r in ROWS)
    assert sum(sum(m["role"] == "user" for m in r["messages"]) == 2 for r in ROWS) > 150
    assert all(r["messages"][-1]["role"] == "assistant" for r in ROWS)


def test_every_equation_in_the_reasoning_holds():
    steps = [s for r in ROWS for m in r["messages"] for s in re.findall(r"(\d+)([-+*])(\d+)=(\d+)", m.get("reasoning_content", ""))]
    assert len(steps) > 4000
    result = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    assert all(result[op](int(a), int(b)) == int(c) for a, op, b, c in steps)


def test_rows_are_the_callers_own():
    embedded.quickstart_rows()[0]["messages"].clear()
    assert embedded.quickstart_rows()[0] == ROWS[0]


# the checker


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (row("What is 7+8-9?"), "6"),
        (row("7-2+9はいくつですか。"), "14"),
        (row("What is 7+8-9?", None, {"role": "assistant", "content": "?"}, {"role": "user", "content": "Add 5 to that."}), "11"),
        (row("Aki has 9 cards, gets 8 more and gives 2 away. How many are left?"), "15 cards"),
        (row("Aki has 9 cards, gets 8 more and gives 2 away. How many are left?", "Reply with the number only."), "15"),
        (row("Aki has 9 cards, gets 8 more and gives 2 away. How many are left?", "Answer in Japanese."), "15枚"),
        (row("今日は土曜日です。2日後は何曜日ですか。"), "月曜日です。"),
        (row("今日は土曜日です。2日後は何曜日ですか。", "英語で答えてください。"), "It is Monday."),
        (row("In a month of 30 days, which day is one week after day 28?"), "Day 5"),
        (row("In a month of 30 days, which day is one week after day 23?"), "Day 30"),
        (row("3時間と20分は何分ですか。"), "200分"),
        (row("How many days are 2 weeks and 3 days?"), "17 days"),
        (row("It is 7:50. What time is it 10 minutes later?"), "8:00"),
        (row("How many pens are in 3 boxes of 41?", "数字だけで答えてください。"), "123"),
        (row("30分後は何時何分になりますか。", None, {"role": "tool", "content": "4:40"}), "5時10分"),
    ],
)
def test_answers_by_hand(asked, answer):
    assert embedded.expected_answer(asked) == answer
    assert embedded.check_answer(asked, f"<think>whatever</think>{answer}<|im_end|>\n")
    assert not embedded.check_answer(asked, answer + "1")
    assert not embedded.check_answer(asked, "")


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        (row("Who are you?"), "'Who are you?'"),
        (row("What is 1+1+1?", "Sing."), "'Sing.'"),
        (row("What is 1+1+1?", None, {"role": "user", "content": "Why?"}), "'Why?'"),
        (row("What time will it be in 30 minutes?"), "tool result"),
        ({"messages": []}, "without a user message"),
    ],
)
def test_the_checker_refuses_what_it_cannot_know(foreign, said):
    with pytest.raises(DataError, match=said.replace("?", r"\?")):
        embedded.check_answer(foreign, "2")


# the tokenizer


def test_small_and_with_the_special_tokens_its_template_prints():
    assert len(TOKENIZER) < 1000
    assert (TOKENIZER.eos_token, TOKENIZER.pad_token) == ("<|im_end|>", "<|pad|>")
    marks = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]
    assert [TOKENIZER.tokenize(mark) for mark in marks] == [[mark] for mark in marks]
    kept = TOKENIZER.decode(TOKENIZER("<think>a</think><|im_end|>")["input_ids"], skip_special_tokens=True)
    assert kept == "<think>a</think>"


@given(st.text())
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_emoji_and_japanese_come_back():
    for text in ("👩‍👩‍👧 がんばれ", "e\u0301 é ｶﾅ 한국\r\n\t  x", "<|im_start|>user"):
        assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@given(st.text("0123456789 \n年ab+"))
def test_digits_and_line_ends_stand_alone(text):
    pieces = [TOKENIZER.decode([token]) for token in TOKENIZER(text)["input_ids"]]
    assert all(piece == "\n" or "\n" not in piece for piece in pieces)
    assert all(len(piece) == 1 or not any(letter.isdigit() for letter in piece) for piece in pieces)


def test_the_conversations_are_short():
    lengths = sorted(len(TOKENIZER.apply_chat_template(r["messages"], tools=r.get("tools"))["input_ids"]) for r in ROWS[::10])
    assert 40 <= lengths[len(lengths) // 2] <= 70
    assert lengths[-1] <= 110


# the chat template

CALL = {"type": "function", "function": {"name": "calculator", "arguments": {"expression": "2*3"}}}
TOOL = {"type": "function", "function": {"name": "calculator", "parameters": {"type": "object", "properties": {}}}}


def rendered(messages, **options):
    return TOKENIZER.apply_chat_template(messages, tokenize=False, **options)


def test_system_reasoning_tools_and_results_are_printed():
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "6"},
        {"role": "assistant", "reasoning_content": "R", "content": "A"},
    ]
    assert rendered(messages, tools=[TOOL]) == (
        '<|im_start|>system\nS\nTools:\n{"name": "calculator", "parameters": {"type": "object", "properties": {}}}<|im_end|>\n'
        "<|im_start|>user\nU<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>{"name": "calculator", "arguments": {"expression": "2*3"}}</tool_call><|im_end|>\n'
        "<|im_start|>tool\n6<|im_end|>\n"
        "<|im_start|>assistant\n<think>R</think>A<|im_end|>\n"
    )
    assert rendered(messages[1:], tools=[TOOL]).startswith("<|im_start|>system\nTools:\n{")


def test_history_is_never_rewritten():
    for r in [r for r in ROWS if len(r["messages"]) >= 4][:50]:
        whole = rendered(r["messages"], tools=r.get("tools"))
        for i, message in enumerate(r["messages"]):
            if message["role"] == "assistant":
                assert whole.startswith(rendered(r["messages"][:i], tools=r.get("tools"), add_generation_prompt=True))


def test_other_spellings_of_content_and_arguments():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered([{"role": "user", "content": parts}]) == rendered([{"role": "user", "content": "ab"}])
    text = {"type": "function", "function": {"name": "calculator", "arguments": '{"expression": "2*3"}'}}
    call = [{"role": "assistant", "content": None, "tool_calls": [text]}]
    assert rendered(call) == rendered([{"role": "assistant", "content": "", "tool_calls": [CALL]}])


@pytest.mark.parametrize(
    ("message", "said"),
    [({"role": "narrator", "content": "x"}, "unknown role 'narrator'"), ({"role": "user", "content": [{"type": "image"}]}, "type 'image'")],
)
def test_the_template_refuses_what_it_cannot_print(message, said):
    with pytest.raises(TemplateError, match=said):
        rendered([message])


# the model


def test_the_seed_decides_the_model_and_nothing_else_moves():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = embedded.tiny_model(1), embedded.tiny_model(1), embedded.tiny_model(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.model.embed_tokens.weight, c.model.embed_tokens.weight)


def test_the_model_fits_the_tokenizer():
    model = embedded.tiny_model()
    assert model.config.vocab_size == len(TOKENIZER)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sum(p.numel() for p in model.parameters()) < 700_000
    assert model.generation_config.eos_token_id == TOKENIZER.eos_token_id


# the config, and the import


def test_the_bundled_config_is_the_example():
    assert embedded.QUICKSTART_CONFIG.read_bytes() == (ROOT / "examples" / "quickstart.yaml").read_bytes()
    config = RunConfig.load("quickstart")
    assert (config.model, config.data.train) == ("tiny", "quickstart")
    assert config.training.max_steps <= 300


def test_importing_it_loads_no_library():
    heavy = "{'numpy', 'torch', 'transformers', 'tokenizers', 'pyarrow', 'datasets'}"
    assert run(f"import sys, maskkit.embedded; print({heavy} & set(sys.modules))") == "set()"


def test_the_data_are_compressed_without_a_time():
    assert embedded.QUICKSTART_DATA.read_bytes()[4:8] == bytes(4)
    assert gzip.decompress(embedded.QUICKSTART_DATA.read_bytes()).count(b"\n") == len(ROWS)
