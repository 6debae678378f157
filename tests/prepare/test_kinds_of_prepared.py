"""Prepared rows say who wrote each token, so that strategies, losses of kinds and colours are those of the rows that they were made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import maskkit
from maskkit import Masker, embedded
from maskkit.chat.segments import RenderedText
from maskkit.engine.metrics import read_metrics
from maskkit.errors import DataError
from maskkit.findings import unlogged
from maskkit.integrations.prepared import prepared_batch
from maskkit.kinds import CODE
from maskkit.masker.encoder import Encoder
from maskkit.masker.given import given_ids
from maskkit.prepare import Settings, prepare
from maskkit.records import records_of, to_record

TOKENIZER = embedded.tiny_tokenizer()
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"zone": "🕐"}}}
ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"What is {n} + 1? 🙂"},
            {"role": "assistant", "reasoning_content": f"{n} and 1.", "content": f"{n + 1} 🎉"},
            {"role": "user", "content": "And the time?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "5:30"},
            {"role": "assistant", "content": "Half past five."},
        ]
    }
    for n in range(4)
]
COLUMNS = ("ids", "kind_codes", "generated", "straddle", "message", "turn", "role", "char_start", "char_end")


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``rows.jsonl``, and what it was prepared to: a folder for each way to see history."""
    folder = tmp_path_factory.mktemp("prepared")
    rows = write(folder / "rows.jsonl", ROWS)
    for history in ("as-rendered", "as-served"):
        prepare([rows], folder / history, Settings(model="tiny", history=history))
    return folder


STRATEGIES: list[Any] = [
    "assistant-only",
    {"name": "assistant-only", "last_turn": True},
    {"name": "weighted", "reasoning": 0.3, "user": 0.1, "rules": [{"where": {"role": "tool"}, "weight": 0.5}]},
    {"name": "weighted", "rules": [{"where": {"message": "last", "regex": "past"}, "weight": 3}, {"where": {"turn": 0}, "weight": 0}]},
]


@pytest.mark.parametrize("history", ["as-rendered", "as-served"])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_tables_and_weights_are_those_of_the_rows(folders: Path, history: str, strategy: Any):
    with unlogged():
        raw = Masker(TOKENIZER, strategy, history=history).batch(ROWS)
        again = Masker(TOKENIZER, strategy).batch(records_of(folders / history))
    assert len(raw) == len(again)
    for one, other in zip(raw, again, strict=True):
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(one.tokens, column), getattr(other.tokens, column), err_msg=column)
        assert (one.tokens.text, one.tokens.reply, one.tokens.row_key) == (other.tokens.text, other.tokens.reply, other.tokens.row_key)
        assert one.tokens.seed == other.tokens.seed
        np.testing.assert_array_equal(one.loss_weights, other.loss_weights)


def test_other_weights_than_the_stored_ones_are_noticed(folders: Path):
    def noticed(strategy: Any) -> dict[str, int]:
        masker = Masker(TOKENIZER, strategy)
        with unlogged():
            masker.batch(records_of(folders / "as-rendered"))
        return dict(masker.counts)

    assert noticed("assistant-only") == noticed("from-data") == {}
    assert noticed({"name": "weighted", "reasoning": 0.3}) == {"stored-weights-replaced": 4}


def test_a_token_that_touches_prompt_and_reply_is_one_again():
    """As a tokenizer makes it that joins the line break of a header with that of a reply."""
    ids = TOKENIZER("a: yes", add_special_tokens=False)["input_ids"]
    columns = {"kinds": [7] * len(ids), "generated": [False] * len(ids), "straddle": [False] * len(ids), "message_index": [0] * len(ids)}
    at = next(token for token, token_id in enumerate(ids) if len(TOKENIZER.decode([token_id])) > 1)
    columns["kinds"][at:] = [CODE["answer"]] * (len(ids) - at)
    columns["generated"][at:] = [True] * (len(ids) - at)
    columns["straddle"][at] = True
    record = to_record({"input_ids": ids, "loss_weights": [0.0] * len(ids), "roles": ["assistant"], **columns})
    rendered, _ = given_ids(Encoder(TOKENIZER), record)
    assert isinstance(rendered, RenderedText)
    assert rendered.segments[0].start == 0
    assert rendered.segments[-1].end == len(rendered.text)
    assert all(before.end == after.start for before, after in zip(rendered.segments, rendered.segments[1:], strict=False))
    with unlogged():
        example = Masker(TOKENIZER)(record)
    np.testing.assert_array_equal(example.tokens.straddle, columns["straddle"])
    np.testing.assert_array_equal(example.tokens.generated, columns["generated"])
    assert example.loss_weights[at] == 0
    assert example.loss_weights[at + 1 :].all()


def test_losses_of_kinds_of_a_run_are_those_of_the_rows(folders: Path, tmp_path: Path):
    def metrics(name: str, train: Path, strategy: Any) -> list[Any]:
        config = {"model": "tiny", "data": {"train": str(train), "eval": 0.5}, "strategy": strategy, "output_dir": str(tmp_path / name)}
        config["training"] = {"max_steps": 2, "per_device_train_batch_size": 2, "log_kinds_every": 1, "eval_steps": 1}
        config["answers"] = {"count": 2, "max_new_tokens": 3}
        done = maskkit.train(maskkit.RunConfig.from_mapping(config), progress=False)
        found = read_metrics(done.metrics_path)
        return [[line["kinds"] for line in found if "kinds" in line], [line["loss"] for line in found if line["event"] == "train"]]

    strategy = {"name": "weighted", "reasoning": 0.3}
    raw = metrics("raw", folders / "rows.jsonl", strategy)
    assert set(raw[0][0]) >= {"answer", "reasoning", "user", "tool_result"}
    assert metrics("prepared", folders / "as-rendered", strategy) == raw
    assert metrics("stored", folders / "as-rendered", "from-data")[1] != raw[1]  # assistant-only is what was stored


def test_a_preview_shows_them_in_their_colours(folders: Path):
    def pieces(data: Path) -> list[Any]:
        shown = maskkit.preview(data, TOKENIZER, strategy={"name": "weighted", "reasoning": 0.3})
        return [[(piece.text, piece.kind, piece.role, piece.whose, piece.weight) for piece in row.pieces] for row in shown.rows]

    with unlogged():
        assert pieces(folders / "as-rendered") == pieces(folders / "rows.jsonl")


def test_replies_of_one_row_are_no_duplicates(folders: Path):
    report = maskkit.lint(folders / "as-served", TOKENIZER)
    assert "duplicate-rows" not in {finding.code.name for finding in report.findings}
    assert report.rows == 12


def test_kinds_alone_are_taken_for_what_they_are():
    """As `encode_batch` writes them: it does not say who wrote the tokens, so strategies still ask for the mask."""
    columns = Masker(TOKENIZER).encode_batch({name: [row[name] for row in ROWS] for name in ROWS[0]}, kinds=True)
    row = {name: values[0].tolist() for name, values in columns.items()}
    example = Masker(TOKENIZER, "from-data")(row)
    np.testing.assert_array_equal(example.tokens.kind_codes, columns["kinds"][0])
    assert not example.tokens.generated.any()
    with pytest.raises(maskkit.errors.ConfigError, match="use 'from-data', which reads their mask"):
        Masker(TOKENIZER)(row)
    assert to_record({**row, "kinds": "sums"}).tokens.attribution is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kinds": [1, 99]}, "kinds has 99, expected codes of maskkit.kinds.KINDS: 0 to 9"),
        ({"kinds": [1]}, "kinds has 1 values, expected 2"),
        ({"kinds": [1, -1]}, "kinds has -1, expected whole numbers from 0"),
        ({"message_index": [0, 1]}, "message_index has 1, and roles has 1 messages"),
        ({"roles": [3]}, r"roles is \[3\], expected a list of names"),
        ({"generated": [True]}, "generated has 1 values, expected 2"),
    ],
)
def test_columns_that_are_wrong_are_named(change: dict[str, Any], said: str):
    row = {"input_ids": [5, 6], "loss_weights": [0, 1], "kinds": [1, 3], "generated": [False, True], "straddle": [False, False]}
    row |= {"message_index": [-1, 0], "roles": ["assistant"]}
    assert to_record(row).attributed
    with pytest.raises(DataError, match=f"^rows:7: {said}"):
        to_record({**row, **change}, "rows:7")


def test_fields_and_tools_are_not_said_by_tokens(folders: Path):
    rules: list[Any] = [
        {"name": "weighted", "rules": [{"where": where, "weight": 2}]} for where in ({"field": "content"}, {"tool": "clock"})
    ]
    for strategy in (*rules, "tool-calls"):
        masker = Masker(TOKENIZER, strategy)
        with pytest.raises(DataError, match=r"part-00000\.parquet: row 0: (fields|tools) are asked for, and a row that is tokens already"):
            masker.batch(records_of(folders / "as-rendered"))


def test_other_trainers_get_the_kinds_too(folders: Path):
    table = pq.read_table(folders / "as-rendered/data/part-00000.parquet").to_pydict()
    mapped = prepared_batch(table)
    for number, example in enumerate(Masker(TOKENIZER).batch(ROWS)):
        assert mapped["kinds"][number].tolist() == example.tokens.kind_codes.tolist()
    batch = maskkit.DataCollator(TOKENIZER)([{name: column[n] for name, column in mapped.items()} for n in range(2)])
    assert batch["kinds"].shape == batch["input_ids"].shape
    table["kinds"][1] = None
    with pytest.raises(DataError, match="3 of 4 rows have kinds"):
        prepared_batch(table)
    table["kinds"] = ["sums"] * 4
    assert "kinds" not in prepared_batch(table)


def test_a_trainer_reads_the_files_and_logs_losses_of_kinds(folders: Path, tmp_path: Path):
    """As `datasets` gives them: columns that the model does not take are left out."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    from transformers import TrainingArguments

    from maskkit.integrations.transformers import WeightedTrainer

    files = str(folders / "as-rendered/data/*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    quiet: dict[str, Any] = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    arguments = TrainingArguments(str(tmp_path), max_steps=1, per_device_train_batch_size=4, learning_rate=0.0, **quiet)
    trainer = WeightedTrainer(
        embedded.tiny_model(), arguments, train_dataset=rows, eval_dataset=rows, data_collator=maskkit.DataCollator(TOKENIZER)
    )
    trainer.train()
    assert {"loss_answer", "loss_reasoning", "loss_stop"} <= trainer.state.log_history[0].keys()
    assert "eval_loss_user" in trainer.evaluate()
