"""A checkpoint is whole or it is not there, and every damage to one is seen."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskkit.engine import durable
from maskkit.engine.checkpoints import Checkpoint, Checkpoints, Damaged, verify
from maskkit.engine.durable import write_text
from maskkit.engine.loop import training_loop
from maskkit.engine.metrics import read_metrics
from maskkit.engine.run import Every
from maskkit.engine.run_folder import RunFolder
from maskkit.errors import ConfigError, TrainingError
from tests.engine.small import small_run
from tests.reference import ragged_rows


def flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]


DAMAGES = {
    "one bit flipped": lambda content: (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    ),
    "first bit flipped": lambda content: bytes([content[0] ^ 128]) + content[1:],
    "last bit flipped": lambda content: content[:-1] + bytes([content[-1] ^ 4]),
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "emptied": lambda content: b"",
    "grown": lambda content: content + b"\0",
    "removed": lambda content: None,
}


def write(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "part").mkdir()
    (folder / "part" / "b.txt").write_text("b")


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """Two checkpoints of a run, with all their files."""
    run = small_run(tmp_path_factory.mktemp("run"), ragged_rows(4), steps=2, learning_rate=0.1, every=Every(save=1))
    training_loop(run)
    return run.folder.checkpoints.root


def assert_every_damage_is_seen(root: Path, good: int, newest: int) -> set[str]:
    """Damage every file of the newest checkpoint in every way, one after the other: the one before is taken. Returns the files' names."""
    folder = root / f"step-{newest}"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in names:
        target = folder / name
        content = target.read_bytes()
        for damage in DAMAGES.values():
            target.unlink()
            if (after := damage(content)) is not None:
                target.write_bytes(after)
            with pytest.raises(Damaged, match=re.escape(Path(name).name)):
                verify(folder)
            assert Checkpoints(root).newest() == Checkpoint(root / f"step-{good}", good)
        target.write_bytes(content)
    verify(folder)
    return set(names)


def test_every_damage_to_every_file_is_seen_and_the_checkpoint_before_is_taken(real, tmp_path):
    shutil.copytree(real, tmp_path / "checkpoints")
    assert len(assert_every_damage_is_seen(tmp_path / "checkpoints", 1, 2)) >= 5


def test_every_byte_of_a_manifest_counts(tmp_path):
    folder = Checkpoints(tmp_path).save(3, write)
    manifest = folder / "manifest.json"
    whole = manifest.read_bytes()
    verify(folder)
    for position in range(len(whole)):
        manifest.write_bytes(flipped(whole, position, 1 << position % 8))
        with pytest.raises(Damaged):
            verify(folder)


def test_a_checkpoint_under_another_name_is_damaged(tmp_path):
    Checkpoints(tmp_path).save(3, write).rename(tmp_path / "step-9")
    with pytest.raises(Damaged, match="that of step 3"):
        verify(tmp_path / "step-9")


def test_the_newest_is_the_one_of_the_highest_step_not_of_the_last_name(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (9, 10, 100):
        checkpoints.save(step, write)
    (tmp_path / "step-x").mkdir()
    (tmp_path / ".step-200.part").mkdir()
    assert checkpoints.newest().step == 100


@pytest.mark.parametrize(("keep_last", "kept"), [(None, [2, 4, 6, 8]), (1, [8]), (3, [4, 6, 8])])
def test_only_the_last_ones_stay(tmp_path, keep_last, kept):
    checkpoints = Checkpoints(tmp_path, keep_last)
    for step in (2, 4, 6, 8):
        checkpoints.save(step, write)
    assert [step for step, _ in checkpoints.folders()] == kept


def test_what_is_kept_does_not_give_way_to_a_future_that_was_given_up(tmp_path):
    """step-9 was damaged, the run went on from step 2: saving step 3 removes neither the one nor the other for step-9's sake."""
    Checkpoints(tmp_path).save(2, write)
    (Checkpoints(tmp_path).save(9, write) / "a.bin").unlink()
    Checkpoints(tmp_path, 2).save(3, write)
    assert [step for step, _ in Checkpoints(tmp_path).folders()] == [2, 3, 9]
    assert Checkpoints(tmp_path).newest().step == 3


def test_a_damaged_one_is_replaced_when_its_step_comes_again(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.save(3, write) / "a.bin").write_bytes(b"")
    checkpoints.save(3, write)
    verify(tmp_path / "step-3")
    assert [child.name for child in tmp_path.iterdir()] == ["step-3"]


def test_all_damaged_says_what_is_wrong_with_each(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.save(1, write) / "a.bin").unlink()
    (checkpoints.save(2, write) / "part" / "b.txt").write_text("c")
    with pytest.raises(
        ConfigError, match=r"every checkpoint .* is damaged \(step-2: the content of part/b.txt .*; step-1: a.bin is missing\)"
    ):
        checkpoints.newest()


FAILING = {"ENOSPC": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "torch": RuntimeError("unexpected pos 576 vs 534")}


@pytest.mark.parametrize("failure", FAILING)
def test_a_checkpoint_that_cannot_be_written_leaves_the_ones_before_and_no_rubbish(tmp_path, failure):
    def fails(folder: Path) -> None:
        write(folder)
        raise FAILING[failure]

    checkpoints = Checkpoints(tmp_path, keep_last=1)
    checkpoints.save(1, write)
    with pytest.raises(TrainingError, match=r"step 2: checkpoint .*step-2 cannot be written: .* MB are free\); .*step-1 is untouched"):
        checkpoints.save(2, fails)
    assert [child.name for child in tmp_path.iterdir()] == ["step-1"]
    assert checkpoints.newest().step == 1


class Killed(BaseException):
    """Stands for a process that ends here."""


def test_whatever_is_the_last_thing_done_before_a_kill_the_newest_good_one_is_found(tmp_path, monkeypatch):
    """Saving is cut off after every single change to the disk in turn, without any clean-up."""
    moments = 0
    while True:
        root = tmp_path / str(moments)
        Checkpoints(root).save(1, write)
        (Checkpoints(root).save(2, write) / "a.bin").unlink()  # of an earlier life: damaged, to be replaced
        left = [moments]

        def dies(real, left=left):
            def call(*args, **kwargs):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            patched.setattr(durable, "sync", dies(durable.sync))
            for name in ("mkdir", "rename"):
                patched.setattr(Path, name, dies(getattr(Path, name)))
            patched.setattr(durable, "remove", dies(durable.remove))
            try:
                Checkpoints(root).save(2, write)
                break
            except Killed:
                pass
        found = Checkpoints(root).newest()
        verify(found.path)
        Checkpoints(root).save(2, write)
        assert Checkpoints(root).newest().step == 2
        assert not list(root.glob(".*"))
        moments += 1
    assert moments > 8


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A small file system of its own; skips where this user may not mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes free."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"")
    ballast.write_bytes(b"\0" * (shutil.disk_usage(disk).free - leave))
    return ballast


def test_a_full_disk_is_an_error_that_says_how_much_is_free_and_what_was_saved_stays(disk):
    run = small_run(disk / "run", ragged_rows(4), steps=1, learning_rate=0.1, every=Every(save=1))
    training_loop(run)
    ballast = fill(disk, leave=50_000)
    run.steps = 2
    with pytest.raises(TrainingError, match=r"step-2 cannot be written: .*No space left .*\(0\.\d MB are free\); .*step-1 is untouched"):
        training_loop(run)
    assert run.folder.checkpoints.newest().step == 1
    assert [child.name for child in run.folder.checkpoints.root.iterdir()] == ["step-1"]
    with pytest.raises(TrainingError, match=r"the trained model cannot be written to .*model: .*go on with --resume"):
        run.save_model(run.folder.model)
    assert not run.folder.model.exists()
    ballast.unlink()
    assert run.save_checkpoint().name == "step-2"


def test_a_full_disk_leaves_no_half_line_of_metrics(disk):
    run = small_run(disk / "run", ragged_rows(4))
    run.metrics.write("train", 1, number=0)  # there is room for more lines in the first block of the file, and for a part of one
    ballast = fill(disk, leave=0)
    with pytest.raises(TrainingError, match=r"step 1: .*metrics\.jsonl cannot be written: No space left on device"):
        [run.metrics.write("train", 1, text="x" * 100, number=number) for number in range(1, 200)]
    known = read_metrics(run.folder.metrics)
    assert [line["number"] for line in known] == list(range(len(known)))
    assert len(known) > 10
    with pytest.raises(OSError, match=r"No space left on device: '.*config\.yaml'"):
        write_text(run.folder.config, "x" * 10_000)
    assert not run.folder.config.exists()
    ballast.unlink()
    run.metrics.write("train", 1, number=len(known))
    assert len(read_metrics(run.folder.metrics)) == len(known) + 1


def test_a_folder_that_cannot_be_written_is_refused_before_training(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(ConfigError, match=r"output_dir .* cannot be written: Read-only file system; choose another folder"):
        RunFolder(disk).open()
