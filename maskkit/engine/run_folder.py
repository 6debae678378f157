"""The folder of one run: config.yaml, run.json, metrics.jsonl, curves.svg, report.html, samples.jsonl, checkpoints/, model/."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from maskkit.engine.checkpoints import Checkpoints
from maskkit.engine.durable import FolderLock, remove, whole_folder, write_text
from maskkit.errors import ConfigError

RUN_FILES = ("config.yaml", "run.json", "metrics.jsonl", "curves.svg", "report.html", "samples.jsonl")
MODEL_FOLDERS = ("model", "best")
TRACKER_FOLDERS = ("tensorboard", "wandb")
CHECKPOINTS = "checkpoints"


class RunFolder:
    """Where a run writes. Nothing is touched before `open`.

    resume: go on with the run that is there, nothing of which is removed.
    first: where several processes do one run, only the first of them looks after the folder; for the others `open` and `close` do nothing.
    Raises ConfigError where the folder already holds a run and neither ``overwrite`` nor ``resume`` is set.
    """

    def __init__(
        self, path: str | Path, *, overwrite: bool = False, resume: bool = False, keep_last: int | None = None, first: bool = True
    ) -> None:
        self.path, self._resume, self._first = Path(path), resume, first
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"output_dir {str(self.path)!r} is a file, expected a folder")
        self._lock = FolderLock(self.path)
        self._made: list[Path] = []
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS, keep_last)
        present = [child.name for child in self._present()]
        if first and present and not overwrite and not resume:
            go_on = "go on with it by --resume, " if self.checkpoints.folders() else ""
            raise ConfigError(
                f"output_dir {str(self.path)!r} already holds a run ({', '.join(present)}): {go_on}choose another folder, "
                "or set overwrite_output_dir=true to replace it"
            )

    def open(self) -> None:
        """Make the folder and hold it until `close`; the files of a run that is replaced are removed, and no others.

        Raises ConfigError if it cannot be written, or another process is writing a run into it; folders that it has made are then gone.
        """
        if not self._first:
            return
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self._lock.acquire():
                raise ConfigError(f"output_dir {str(self.path)!r}: another process is training into it; wait for it, or end it first")
            if not self._resume:
                for child in self._present():
                    if child.name == CHECKPOINTS:
                        self.checkpoints.clear()
                    else:
                        remove(child)
            self.checkpoints.clear_parts()
            probe = self.path / ".writable.part"
            probe.touch()
            probe.unlink()
        except OSError as error:
            self.close()
            self._remove_empty()
            raise ConfigError(
                f"output_dir {str(self.path)!r} cannot be written: {error.strerror or error}; choose another folder"
            ) from error

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """`open`, and `close` only if the block raises: whoever goes on with the folder closes it. A new run whose block raises has not
        begun, and nothing of it stays."""
        self.open()
        try:
            yield
        except BaseException:
            if self._first and not self._resume:
                with contextlib.suppress(OSError):  # what the disk does not let go must not hide what went wrong
                    for name in RUN_FILES:
                        remove(self.path / name)
            self.close()
            self._remove_empty()
            raise

    def _remove_empty(self) -> None:
        """Remove the folders that `open` has made, as far as nothing is in them."""
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def close(self) -> None:
        """Let other processes write into the folder."""
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _present(self) -> list[Path]:
        if not self.path.exists():
            return []
        held = [child for child in self.path.iterdir() if child.name in (*RUN_FILES, *MODEL_FOLDERS, *TRACKER_FOLDERS)]
        return sorted([*held, self.checkpoints.root] if self.checkpoints.folders() else held)

    @property
    def config(self) -> Path:
        """The config as it was run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    @property
    def curves(self) -> Path:
        """Loss curves, as SVG."""
        return self.path / "curves.svg"

    @property
    def samples(self) -> Path:
        """What the model replied, one JSON object a line."""
        return self.path / "samples.jsonl"

    @property
    def model(self) -> Path:
        """The trained model with its tokenizer, as transformers loads them."""
        return self.path / "model"

    @property
    def best(self) -> Path:
        """The model whose held-out loss was the lowest, where that is asked for."""
        return self.path / "best"

    @property
    def record(self) -> Path:
        """What the run was made of: versions, data, git."""
        return self.path / "run.json"

    @property
    def places(self) -> dict[str, Any]:
        """The folder and what is in it, as `TrainResult` calls them."""
        return {
            "output_dir": self.path,
            "model_dir": self.model,
            "metrics_path": self.metrics,
            "curves_path": self.curves,
            "report_path": self.report,
            "samples_path": self.samples,
        }


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, the whole file or none of it."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def save_model(model: Any, tokenizer: Any, folder: Path, tensors: dict[str, Any] | None = None) -> Path:
    """Save model, tokenizer and chat template; a folder of that name is always complete. Raises OSError, and leaves what was there.

    tensors: parameters and buffers by name, where the model itself has only a part of each.
    """
    with whole_folder(folder) as part, _without_progress_bar():
        model.save_pretrained(part, **({"state_dict": tensors} if tensors is not None else {}))
        tokenizer.save_pretrained(part)
    return folder


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    """transformers draws a bar of its own while it saves, into the middle of ours."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
