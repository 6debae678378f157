"""Running a command in this process, or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from maskkit.cli.main import run


@dataclass(frozen=True)
class Done:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """Run ``maskkit ARGUMENTS`` here."""
    status = run(list(arguments))
    captured = capsys.readouterr()
    return Done(status, captured.out, captured.err)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that has to fail with status 2 and one line; returns the line."""
    done = call(capsys, *arguments)
    assert done.status == 2
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def spawn(arguments: Sequence[str], folder: Path | None = None, **environment: str) -> Done:
    """Run ``python -m maskkit ARGUMENTS`` in a process of its own, its output a pipe."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "maskkit", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)
