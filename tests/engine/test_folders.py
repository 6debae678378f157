"""Runs on the files of a folder: in memory and streamed, gone on with, and what is said of files that came or went."""

from __future__ import annotations

import json
import shutil

import pytest

from maskkit.engine import train
from maskkit.engine.stream import Blocks, Source
from maskkit.errors import ConfigError, DataError
from maskkit.prepare import Settings, prepare
from tests.engine.runs import chat, config, dropout_model, measured, weights_of, write_rows
from tests.engine.test_stream import flat, seen, stream, texts

SHORT = {"max_steps": 2, "save_steps": 1, "eval_steps": 0, "gradient_accumulation_steps": 1}


def folder_of(tmp_path, counts=(9, 7, 8)):
    (tmp_path / "data").mkdir()
    for number, count in enumerate(counts):
        make = lambda n, number=number: chat(f"File {number}: what is {n} + 1?", "I add.", str(n + 1))  # noqa: E731
        write_rows(tmp_path / "data" / f"{number}.jsonl", count, make)
    return str(tmp_path / "data")


def test_a_run_on_a_folder_is_the_run_on_its_files(tmp_path):
    folder = folder_of(tmp_path)
    files = [f"{folder}/{number}.jsonl" for number in range(3)]
    runs = [
        train(config(tmp_path, name, data={"train": data, "eval": 0.2}, training=SHORT, answers={"count": 0}), progress=False)
        for name, data in (("a", folder), ("b", f"{folder}/*.jsonl"), ("c", files))
    ]
    first, *others = [[measured(run.metrics_path), weights_of(run.model_dir)] for run in runs]
    assert others == [first, first]
    record = json.loads((runs[0].output_dir / "run.json").read_text())
    assert [file["path"] for file in record["files"]] == files
    assert all(file["sha256"] for file in record["files"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("change", "said"), [("3.jsonl", "4 files now and 3 then: .*data/3.jsonl is new"), ("-1.jsonl", "1.jsonl is gone")]
)
def test_files_that_came_or_went_are_named_when_a_run_is_gone_on_with(tmp_path, streaming, change, said):
    folder = folder_of(tmp_path)
    chosen = config(tmp_path, data={"train": folder, "eval": None, "streaming": streaming}, training=SHORT, answers={"count": 0})
    shutil.rmtree(train(chosen, progress=False).model_dir)
    if change.startswith("-"):
        (tmp_path / "data" / change[1:]).unlink()
    else:
        write_rows(tmp_path / "data" / change, 1)
    with pytest.raises(ConfigError, match=f"cannot resume from .*step-2: data.train and data.eval stand for .*{said}; undo the change"):
        train(chosen, progress=False, resume=True)


def test_a_folder_is_one_source_of_a_stream_its_files_come_one_after_another(tmp_path):
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(3):
        texts(folder / f"{number}.jsonl", 10 + number, f"long{number}")
    sources = [(str(folder), 3.0), (texts(tmp_path / "short.jsonl", 5, "short"), 1.0)]
    plans = seen(stream(sources, 11), 30)
    long = [text for text in flat(plans) if text.startswith("long")]
    assert [text[:5] for text in long[:10]] == ["long0"] * 10
    assert len(set(long)) == 33
    assert 8 < sum(text.startswith("short") for text in flat(plans)) < 22
    for done in (3, 11, 17):
        order = stream(sources, 11)
        assert seen(order, done) == plans[:done]
        again = stream(sources, 11)
        again.load_state_dict(json.loads(json.dumps(order.state_dict())))
        assert seen(again, 30 - done) == plans[done:]


def test_the_state_of_a_stream_of_single_files_may_have_two_numbers_a_place(tmp_path):
    sources = [(texts(tmp_path / "a.jsonl", 30, "a"), 1.0)]
    order, again = stream(sources, 11), stream(sources, 11)
    expected = seen(order, 15)
    state = stream(sources, 11)
    seen(state, 8)
    values = state.state_dict()
    assert values["places"] == [[values["places"][0][0], 11, 0]]
    again.load_state_dict({**values, "places": [place[:2] for place in values["places"]]})
    assert seen(again, 7) == expected[8:]


def test_a_file_of_a_folder_that_cannot_be_streamed_is_named_before_training(tmp_path):
    folder = folder_of(tmp_path)
    (tmp_path / "data" / "9.json").write_text("[]")
    with pytest.raises(DataError, match=r"9\.json: a file of this type cannot be streamed"):
        Blocks([Source(folder, 1.0)], 10, 0, lambda record: record)


def test_a_streamed_folder_can_be_gone_on_with(tmp_path):
    training = {"max_steps": 5, "save_steps": 2, "keep_last": None, "eval_steps": 2, "per_device_train_batch_size": 2}
    data = {"train": folder_of(tmp_path), "eval": 0.1, "streaming": True, "shuffle_buffer": 10}
    chosen = config(tmp_path, model=dropout_model(tmp_path / "model"), data=data, training=training, answers={"count": 0})
    whole = train(chosen, progress=False)
    before, weights = measured(whole.metrics_path), weights_of(whole.model_dir)
    for step in (4, 5):
        shutil.rmtree(whole.output_dir / "checkpoints" / f"step-{step}")
    shutil.rmtree(whole.model_dir)
    again = train(chosen, progress=False, resume=True)
    assert (measured(again.metrics_path), weights_of(again.model_dir)) == (before, weights)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_prepared_folder_is_trained_on_whole_or_not_at_all(tmp_path, streaming):
    rows = write_rows(tmp_path / "rows.jsonl", 12)
    prepare([rows], tmp_path / "prepared", Settings(model="tiny"), rows_per_file=5)
    data = {"train": str(tmp_path / "prepared"), "eval": None, "streaming": streaming}
    chosen = config(tmp_path, data=data, strategy="from-data", training=SHORT, answers={"count": 0})
    result = train(chosen, progress=False)
    record = json.loads((result.output_dir / "run.json").read_text())
    assert [file["path"] for file in record["files"]] == [f"{tmp_path}/prepared/data/part-0000{n}.parquet" for n in range(3)]
    (tmp_path / "prepared/data/part-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"there is no data/part-00002\.parquet"):
        train(chosen.model_copy(update={"output_dir": str(tmp_path / "again")}), progress=False)
