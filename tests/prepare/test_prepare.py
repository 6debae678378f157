"""A prepared data set holds what the masker gives, says how it was made, and survives what interrupts it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from maskkit import Masker, embedded
from maskkit.errors import ConfigError, DataError, TrainingError, UnknownNameError
from maskkit.integrations.prepared import prepared_batch
from maskkit.kinds import CODE
from maskkit.prepare import Settings, prepare
from maskkit.prepare.shard import runs_of
from maskkit.records import records_of
from tests.campaigns.prepare import campaign, contents

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n} + {n}?"},
            {"role": "assistant", "content": f"{n + n}", "reasoning_content": "."},
        ]
    }
    for n in range(23)
]
SETTINGS = Settings(model="tiny", date="2026-01-01T00:00:00")


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def columns(folder: Path) -> dict[str, list]:
    return pq.read_table(folder / "data").to_pydict()


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_the_files_hold_what_the_masker_gives(data: str, tmp_path: Path):
    done = prepare([data], tmp_path / "out", SETTINGS, rows_per_file=10)
    assert (done.files, done.reused, done.totals.rows, done.totals.examples) == (3, 0, 23, 23)
    found = columns(tmp_path / "out")
    for number, example in enumerate(Masker(embedded.tiny_tokenizer()).batch(ROWS)):
        assert found["input_ids"][number] == example.input_ids.tolist()
        assert found["loss_weights"][number] == example.loss_weights.tolist()
        assert found["kinds"][number] == example.tokens.kind_codes.tolist()
        assert found["row_key"][number] == example.tokens.row_key
        assert found["source"][number] == f"{data}:{number + 1}"
    about = manifest(tmp_path / "out")
    assert about["complete"] is True
    assert about["settings"]["strategies"] == {"assistant-only": "maskkit 0.1.0"}
    assert about["totals"]["kinds"]["answer"][0] == sum(codes.count(CODE["answer"]) for codes in found["kinds"])
    assert about["totals"]["tokens"] == sum(map(len, found["input_ids"]))
    assert [file["file"] for file in about["files"]] == [f"data/part-0000{n}.parquet" for n in range(3)]


def test_other_trainers_read_them(data: str, tmp_path: Path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    prepare([data], tmp_path / "out", SETTINGS, rows_per_file=10)
    read = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out/data/*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(read) == 23
    assert read[7]["input_ids"] == columns(tmp_path / "out")["input_ids"][7]


def test_workers_change_nothing(data: str, tmp_path: Path):
    prepare([data], tmp_path / "one", SETTINGS, rows_per_file=5)
    prepare([data], tmp_path / "two", SETTINGS, rows_per_file=5, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_weights_as_runs(data: str, tmp_path: Path):
    prepare([data], tmp_path / "lists", SETTINGS)
    prepare([data], tmp_path / "runs", Settings(model="tiny", date=SETTINGS.date, weights="runs"))
    lists, runs = columns(tmp_path / "lists"), columns(tmp_path / "runs")
    assert "loss_weights" not in runs
    for weights, values, lengths in zip(lists["loss_weights"], runs["weight_values"], runs["weight_lengths"], strict=True):
        assert np.repeat(values, lengths).tolist() == weights


@pytest.mark.parametrize("form", ["lists", "runs"])
def test_what_is_prepared_is_trained_as_it_was_weighed(data: str, tmp_path: Path, form: str):
    settings = Settings(model="tiny", strategy={"name": "weighted", "reasoning": 0.25}, weights=form)
    prepare([data], tmp_path / "out", settings)
    masker = Masker(embedded.tiny_tokenizer(), settings.strategy)
    again = Masker(embedded.tiny_tokenizer(), "from-data").batch(records_of(tmp_path / "out/data/part-00000.parquet"))
    table = pq.read_table(tmp_path / "out/data/part-00000.parquet").to_pydict()
    for_trainers = prepared_batch(table)["loss_weights"]
    for example, read, mapped in zip(masker.batch(ROWS), again, for_trainers, strict=True):
        assert read.input_ids.tolist() == example.input_ids.tolist()
        assert read.loss_weights.tolist() == example.loss_weights.tolist() == mapped.tolist()


@given(npst.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([0.0, 0.25, 1.0, -1.0])))
def test_runs_give_the_weights_again(weights):
    values, lengths = runs_of(weights)
    assert np.repeat(values, lengths).tolist() == weights.tolist()
    assert (values[1:] != values[:-1]).all()


def test_labels_where_they_can_say_it(data: str, tmp_path: Path):
    prepare([data], tmp_path / "out", Settings(model="tiny", labels=True))
    found = columns(tmp_path / "out")
    for ids, weights, labels in zip(found["input_ids"], found["loss_weights"], found["labels"], strict=True):
        assert labels == [token if weight else -100 for token, weight in zip(ids, weights, strict=True)]
    half = Settings(model="tiny", strategy={"name": "weighted", "reasoning": 0.5}, labels=True)
    with pytest.raises(DataError, match=r"rows.jsonl:1: token \d+ \('<think>'\) has the weight 0.5, and labels can only say"):
        prepare([data], tmp_path / "half", half)


def test_reference_log_probs_are_those_of_the_model(data: str, tmp_path: Path):
    import torch

    from maskkit.models import load_model

    prepare([data], tmp_path / "out", Settings(model="tiny", reference="tiny"))
    found = columns(tmp_path / "out")
    model = load_model("tiny").eval()
    for number in (0, 11, 22):
        ids = torch.tensor([found["input_ids"][number]])
        with torch.no_grad():
            expected = model(ids, use_cache=False).logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[:, 0]
        np.testing.assert_allclose(found["reference_log_probs"][number], [0.0, *expected.tolist()], atol=1e-5)


@pytest.mark.parametrize("damage", ["removed", "cut", "of other rows"])
def test_what_is_missing_or_damaged_is_made_again(data: str, tmp_path: Path, damage: str):
    out = tmp_path / "out"
    prepare([data], out, SETTINGS, rows_per_file=5)
    whole, victim = contents(out), out / "data/part-00002.parquet"
    if damage == "removed":
        victim.unlink()
    elif damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-20])
    else:
        victim.write_bytes((out / "data/part-00001.parquet").read_bytes())
    (out / "data/.part-00003.parquet.part").write_bytes(b"half")
    assert prepare([data], out, SETTINGS, rows_per_file=5).reused == 4
    assert contents(out) == whole


def test_rows_that_are_gone_leave_no_files(data: str, tmp_path: Path):
    prepare([data], tmp_path / "out", SETTINGS, rows_per_file=5)
    Path(data).write_text("".join(json.dumps(row) + "\n" for row in ROWS[:7]))
    assert prepare([data], tmp_path / "out", SETTINGS, rows_per_file=5).reused == 1
    assert len(columns(tmp_path / "out")["input_ids"]) == 7
    assert len(manifest(tmp_path / "out")["files"]) == 2


def test_a_folder_of_other_settings_is_refused_unless_it_may_be_replaced(data: str, tmp_path: Path):
    prepare([data], tmp_path / "out", SETTINGS)
    other = Settings(model="tiny", strategy="causal")
    with pytest.raises(ConfigError, match=r"was begun with .*'assistant-only'.*'causal'.*--overwrite"):
        prepare([data], tmp_path / "out", other)
    with pytest.raises(ConfigError, match="was begun with 1000 rows per file"):
        prepare([data], tmp_path / "out", SETTINGS, rows_per_file=10)
    assert prepare([data], tmp_path / "out", other, overwrite=True).reused == 0
    assert manifest(tmp_path / "out")["settings"]["strategy"] == "causal"


def test_the_date_is_that_of_the_beginning(data: str, tmp_path: Path):
    prepare([data], tmp_path / "out", SETTINGS)
    assert prepare([data], tmp_path / "out", Settings(model="tiny")).reused == 1
    assert manifest(tmp_path / "out")["settings"]["date"] == SETTINGS.date


def test_a_folder_of_someone_else_is_left_alone(data: str, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty, and not a folder that prepare has written"):
        prepare([data], tmp_path / "out", SETTINGS, overwrite=True)
    assert (tmp_path / "out/thesis.txt").read_text() == "mine"


def test_a_bad_row_is_named_and_what_was_done_is_kept(data: str, tmp_path: Path):
    lines = Path(data).read_text().splitlines(keepends=True)
    bad = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!", "weight": "heavy"}]}
    Path(data).write_text("".join([*lines[:12], json.dumps(bad) + "\n", *lines[12:]]))
    settings = Settings(model="tiny", strategy="from-data", date=SETTINGS.date)
    with pytest.raises(DataError, match=r"rows.jsonl:13.*weight"):
        prepare([data], tmp_path / "out", settings, rows_per_file=5)
    assert manifest(tmp_path / "out")["complete"] is False
    Path(data).write_text("".join(lines))
    assert prepare([data], tmp_path / "out", settings, rows_per_file=5).reused >= 1


def test_a_worker_that_dies_is_told_with_its_rows_and_the_next_run_goes_on(data: str, tmp_path: Path):
    (tmp_path / "fatal.py").write_text(
        "import os\nimport maskkit\n\nclass Fatal(maskkit.Strategy):\n    name = 'fatal'\n\n"
        f"    def weights(self, tokens):\n        if '17 + 17' in tokens.text and not os.path.exists({str(tmp_path / 'mended')!r}):\n"
        "            os._exit(9)\n        return tokens.where(kind='answer')\n"
    )
    settings = Settings(model="tiny", strategy=f"{tmp_path}/fatal.py:Fatal", date=SETTINGS.date)
    with pytest.raises(
        TrainingError, match=r"worker 1 ended with status 9 while it was at .*rows.jsonl:16 to .*rows.jsonl:20: .*--workers 1"
    ):
        prepare([data], tmp_path / "out", settings, rows_per_file=5, workers=2)
    (tmp_path / "mended").touch()
    assert prepare([data], tmp_path / "out", settings, rows_per_file=5).reused >= 3
    assert len(columns(tmp_path / "out")["input_ids"]) == 23


def test_what_is_wrong_with_the_settings_is_told_before_anything_is_read(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="asistant-only"):
        prepare(["absent.jsonl"], tmp_path / "out", Settings(model="tiny", strategy="asistant-only"))
    with pytest.raises(ConfigError, match="weights is 'floats', expected 'lists' or 'runs'"):
        Settings(model="tiny", weights="floats")


def test_a_kill_changes_nothing(tmp_path: Path):
    assert campaign(tmp_path, rows=240, kills=1, seed=1, workers=1, rows_per_file=4).files == 60
