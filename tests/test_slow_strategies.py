"""A strategy or an expression that took long is told of, also where it was stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskkit.strategy import slow

HOPELESS = "{name: weighted, rules: [{where: {kind: answer, regex: '(a+)+$'}, weight: 2}]}"
IMPATIENT = """
import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from maskkit.builtin.weighted import Where
from maskkit.cli.main import run
from maskkit.strategy import slow

slow.PATIENCE = 0.1
select = Where.select
Where.select = lambda *arguments: print("searching", flush=True) or select(*arguments)
sys.exit(run(sys.argv[1:]))
"""


def test_what_is_quick_is_not_told_of(caplog: pytest.LogCaptureFixture):
    with slow.told_if_slow("it"):
        pass
    assert not caplog.messages


def test_what_is_slow_is_told_of_however_it_ends(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slow, "PATIENCE", 0.0)

    def fails() -> None:
        time.sleep(0.01)
        raise LookupError

    with pytest.raises(LookupError), slow.told_if_slow("row 7: strategy 'x'", "; stop it"):
        fails()
    assert caplog.messages == ["row 7: strategy 'x' took 0.0 s; stop it"]


def test_a_hopeless_expression_that_is_stopped_is_named_with_its_row_and_strategy(tmp_path: Path):
    data = tmp_path / "rows.jsonl"
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a" * 60 + "!"}]
    data.write_text(json.dumps({"messages": messages}))
    command = [sys.executable, "-c", IMPATIENT, "lint", str(data), "--model", "tiny", "--strategy", HOPELESS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "searching\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the regular expression '(a+)+$' took " in told
    assert f"{data}:1: strategy 'weighted' took " in told
