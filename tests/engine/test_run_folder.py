"""A run folder is never overwritten by accident, and its files are whole."""

from __future__ import annotations

import os

import pytest

from maskkit import embedded
from maskkit.engine.metrics import MetricsLog, read_metrics
from maskkit.engine.run_folder import RunFolder, save_model, write_lines
from maskkit.errors import ConfigError


def test_a_folder_with_a_run_is_refused_by_name(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open()
    folder.metrics.write_text("{}\n")
    with pytest.raises(ConfigError, match=r"metrics\.jsonl.*overwrite_output_dir"):
        RunFolder(tmp_path / "run")


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("old")
    folder.model.mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    again = RunFolder(tmp_path, overwrite=True)
    assert folder.metrics.exists()  # not before the new run is ready to start
    again.open()
    again.close()
    assert [child.name for child in tmp_path.iterdir()] == ["notes.txt"]


def test_other_files_do_not_make_it_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert RunFolder(tmp_path).path == tmp_path


def test_two_processes_do_not_write_into_one_folder(tmp_path):
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    with first.opened():
        pass
    with pytest.raises(ConfigError, match="another process is training into it"):
        second.open()
    first.close()
    with pytest.raises(ZeroDivisionError), second.opened():
        raise ZeroDivisionError
    with first.opened(), pytest.raises(ConfigError, match="another process"):
        second.open()


def test_a_run_that_does_not_begin_leaves_nothing_that_it_made(tmp_path):
    (tmp_path / "mine").mkdir()

    def begin(folder):
        with folder.opened():
            write_lines(folder.config, [])
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        begin(RunFolder(tmp_path / "mine" / "runs" / "first"))
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match="disk full"):
        begin(RunFolder(tmp_path / "mine"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "notes.txt"]


def test_a_run_that_cannot_be_gone_on_with_stays(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path, resume=True).opened():
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["config.yaml"]


def test_a_place_that_takes_folders_and_no_files_keeps_none(tmp_path, monkeypatch):
    def full(path, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "touch", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        RunFolder(tmp_path / "runs" / "first").open()
    assert not (tmp_path / "runs").exists()


def test_a_file_in_its_place_is_an_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        RunFolder(tmp_path / "run")


def test_metrics_are_on_disk_as_soon_as_they_are_written(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("train", 1, loss=0.5)
    log.write("eval", 1, loss=float("nan"), kinds={"user": float("inf"), "text": 1.0})
    assert read_metrics(log.path, "train") == [{"event": "train", "step": 1, "loss": 0.5}]
    assert read_metrics(log.path, "eval") == [{"event": "eval", "step": 1, "loss": None, "kinds": {"user": None, "text": 1.0}}]
    log.close()


def test_lines_keep_any_language(tmp_path):
    write_lines(tmp_path / "samples.jsonl", [{"answer": "東京 🙂"}])
    assert (tmp_path / "samples.jsonl").read_text(encoding="utf-8") == '{"answer": "東京 🙂"}\n'


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_who_may_read_the_folder_may_read_the_model(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_model(embedded.tiny_model(), embedded.tiny_tokenizer(), tmp_path / "model")
    finally:
        os.umask(before)
    assert {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "model").iterdir()} == {oct(mode)}


def test_a_model_that_cannot_be_saved_leaves_the_one_before(tmp_path):
    class Saves:
        def save_pretrained(self, folder):
            folder.mkdir(exist_ok=True)
            (folder / type(self).__name__).write_text("whole")

    class Fails:
        def save_pretrained(self, folder):
            raise OSError("disk full")

    save_model(Saves(), Saves(), tmp_path / "model")
    with pytest.raises(OSError, match="disk full"):
        save_model(Fails(), Saves(), tmp_path / "model")
    with pytest.raises(OSError, match="disk full"):
        save_model(Saves(), Fails(), tmp_path / "model")
    assert [child.name for child in (tmp_path / "model").iterdir()] == ["Saves"]
