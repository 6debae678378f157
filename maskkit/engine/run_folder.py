"""The folder of one run: config.yaml, metrics.jsonl, curves.svg, samples.jsonl, model/."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from maskkit.errors import ConfigError

RUN_FILES = ("config.yaml", "metrics.jsonl", "curves.svg", "samples.jsonl")
MODEL_FOLDER = "model"
STEP_PREFIX = "step-"


class RunFolder:
    """Where a run writes. Nothing is touched before `open`.

    Raises ConfigError where the folder already holds a run and ``overwrite`` is not set.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"output_dir {str(self.path)!r} is a file, expected a folder")
        present = [child.name for child in self._present()]
        if present and not overwrite:
            raise ConfigError(
                f"output_dir {str(self.path)!r} already holds a run ({', '.join(present)}): choose another folder, "
                "or set overwrite_output_dir=true to replace it"
            )

    def open(self) -> None:
        """Make the folder; the files of a run that is replaced are removed, and no others."""
        for child in self._present():
            _remove(child)
        self.path.mkdir(parents=True, exist_ok=True)

    def _present(self) -> list[Path]:
        return sorted(child for child in self.path.iterdir() if _of_a_run(child.name)) if self.path.exists() else []

    @property
    def config(self) -> Path:
        """The config as it was run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

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
        return self.path / MODEL_FOLDER

    def step_model(self, step: int) -> Path:
        """The model as it was after that step."""
        return self.path / f"{STEP_PREFIX}{step}"


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, the whole file or none of it."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def save_model(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Save model, tokenizer and chat template under a temporary name, then rename: a folder of that name is always complete."""
    part = folder.with_name(f".{folder.name}.part")
    _remove(part)
    with _without_progress_bar():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    for file in part.rglob("*"):
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())
    _remove(folder)
    part.rename(folder)
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


def _of_a_run(name: str) -> bool:
    is_step = name.startswith(STEP_PREFIX) and name.removeprefix(STEP_PREFIX).isdigit()
    return name in RUN_FILES or name == MODEL_FOLDER or is_step


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
