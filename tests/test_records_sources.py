"""What a name of data stands for: files in one order on every machine, and nothing that is no data."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from maskkit import embedded, lint, preview
from maskkit.errors import DataError
from maskkit.prepare import Settings, prepare
from maskkit.records import data_files, read_records, read_rows, records_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def rows(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def texts(source: str) -> list[str]:
    return [record.text for record in read_records(source)]


def test_files_of_a_folder_come_by_name_however_they_were_made(folder: Path):
    for name in ("b", "a-10", "a-2", "B", "é"):
        rows(folder / f"{name}.jsonl", name)
    assert texts("data") == texts("data/") == texts("data/*.jsonl") == texts("./data") == ["B", "a-10", "a-2", "b", "é"]
    assert [record.source for record in read_records("data")][:2] == ["data/B.jsonl:1", "data/a-10.jsonl:1"]


def test_what_is_no_data_is_passed_over(folder: Path):
    rows(folder / "a.jsonl", "a")
    for name in (".hidden.jsonl", "_temporary.jsonl", "README.md", "dataset_info.json", "manifest.json", "in/b.jsonl", "_in/c.jsonl"):
        rows(folder / name, "no")
    assert data_files("data") == data_files("data/*") == ["data/a.jsonl"]
    assert data_files("data/**/*") == ["data/a.jsonl", "data/in/b.jsonl"]
    assert data_files("data/_*.jsonl") == ["data/_temporary.jsonl"]
    assert data_files("data/_in/*.jsonl") == ["data/_in/c.jsonl"]
    assert data_files("data/_temporary.jsonl") == ["data/_temporary.jsonl"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path):
    rows(folder / "a[1].jsonl", "it")
    rows(folder / "a1.jsonl", "other")
    assert texts("data/a[1].jsonl") == ["it"]
    assert texts("data/a[12].jsonl") == ["other"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("data", r"no data file is in the folder data \(found: notes.md, rows.csv\), expected names that end with \.jsonl, .*parquet"),
        ("data", r"; data/in has some: name that folder, or a pattern such as 'data/\*\*/\*'"),
        ("data/*.jsnl", r"no data file matches the pattern 'data/\*\.jsnl', expected names that end with"),
        ("data/*.csv", r"no data file matches the pattern 'data/\*\.csv' \(found: rows.csv\), expected names"),
        ("datta", r"there is no file datta\."),
    ],
)
def test_nothing_to_read_names_the_place_and_what_would_be_read(folder: Path, source: str, said: str):
    for name in ("rows.csv", "notes.md", "in/b.jsonl"):
        rows(folder / name, "no")
    with pytest.raises(DataError, match=said):
        records_of(source)


def test_several_types_are_read_and_said_once(folder: Path, caplog: pytest.LogCaptureFixture):
    rows(folder / "a.jsonl", "a")
    rows(folder / "b.json", "b")
    source = str(folder)  # which no other test has
    with caplog.at_level(logging.WARNING):
        assert texts(source) == texts(source) == ["a", "b"]
    [said] = [record.getMessage() for record in caplog.records]
    assert "files of several types (1 .json, 1 .jsonl), and all are read" in said


def test_a_bad_row_is_named_with_its_file_and_the_reading_goes_on(folder: Path):
    rows(folder / "a.jsonl", "a")
    (folder / "b.jsonl").write_text('{"text": 3}\n{"text": "c"}\n')
    assert [row.source for row in read_rows("data")] == ["data/a.jsonl:1", "data/b.jsonl:1", "data/b.jsonl:2"]
    with pytest.raises(DataError, match=r"^data/b\.jsonl:1: text is 3"):
        texts("data")


def test_the_functions_of_the_package_take_folders_and_patterns(folder: Path):
    for number in range(3):
        rows(folder / f"{number}.jsonl", "some text")
    tokenizer = embedded.tiny_tokenizer()
    assert len(preview("data", tokenizer, strategy="causal").rows) == 3
    assert lint("data/[01].jsonl", tokenizer, strategy="causal").rows == 2


@pytest.fixture
def prepared(folder: Path) -> Path:
    rows(folder / "a.jsonl", "one", "two", "three")
    prepare(["data"], "out", Settings(model="tiny", strategy="causal"), rows_per_file=1)
    return Path("out")


@pytest.mark.parametrize("source", ["out", "out/", "out/data", "out/data/*", "out/data/*.parquet", "o*/**/*.parquet"])
def test_of_a_prepared_folder_the_files_that_its_manifest_lists_are_read(prepared: Path, source: str):
    (prepared / "data/part-00009.parquet").write_bytes(b"someone else's")
    assert data_files(source) == [f"out/data/part-0000{number}.parquet" for number in range(3)]
    assert len(texts(source)) == 3


def test_a_pattern_may_ask_for_some_of_them(prepared: Path):
    assert data_files("out/data/part-*[12].parquet") == ["out/data/part-00001.parquet", "out/data/part-00002.parquet"]


@pytest.mark.parametrize("source", ["out", "out/data", "out/data/part-00001*"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("missing", r"out: there is no data/part-00002\.parquet, which manifest\.json lists: run the same  maskkit prepare  again"),
        ("cut", r"out/data/part-00002\.parquet has \d+ bytes, expected \d+"),
        ("unfinished", "out is a prepared data set that is not complete: run the same  maskkit prepare  again"),
        ("of tomorrow", "out is a prepared data set of format 3, expected 2: prepare it anew"),
    ],
)
def test_one_that_is_not_whole_is_refused_with_what_to_do(prepared: Path, source: str, damage: str, said: str):
    file, manifest = prepared / "data/part-00002.parquet", prepared / "manifest.json"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        before, after = {"unfinished": ('"complete": true', '"complete": false'), "of tomorrow": ('"format": 2', '"format": 3')}[damage]
        manifest.write_text(manifest.read_text().replace(before, after))
    with pytest.raises(DataError, match=said):
        data_files(source)


def test_the_manifest_of_something_else_is_no_manifest(folder: Path):
    rows(folder / "a.jsonl", "a")
    (folder / "manifest.json").write_text('{"format": 1, "files": []}')
    assert data_files("data") == ["data/a.jsonl"]
