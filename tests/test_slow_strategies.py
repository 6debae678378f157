"""A strategy or an expression that takes long is told of, in one line, while it takes long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

HOPELESS = "{name: weighted, rules: [{where: {kind: answer, regex: '(a+)+$'}, weight: 2}]}"
IMPATIENT = "import sys; from maskkit.strategy import slow; slow.PATIENCE = 0.3; from maskkit.cli.main import run; run(sys.argv[1:])"


def rows(path: Path, *replies: str) -> str:
    lines = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply}]} for reply in replies]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def first_warning(*arguments: str, code: str = IMPATIENT) -> str:
    """The first warning of a command that will not end, which is then killed; whatever it has started ends too."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        return next((line for line in process.stderr if line.startswith("warning: ") and "not done" in line), "")
    finally:
        process.kill()
        process.wait()
        started = time.monotonic()
        process.stderr.read()  # until the last process that could write there has ended
        assert time.monotonic() - started < 5


def test_a_hopeless_expression_is_told_with_its_row_and_strategy(tmp_path: Path):
    data = rows(tmp_path / "rows.jsonl", "fine", "a" * 60 + "!")
    told = first_warning("lint", data, "--model", "tiny", "--strategy", HOPELESS)
    assert told == (
        f"warning: {data}:2: strategy 'weighted' is not done after 0.3 s, at the expression '(a+)+$': repeats within repeats may never "
        "end; stop it (Ctrl-C) and write them as one\n"
    )


def test_a_strategy_of_ones_own_is_told_too(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import maskkit\n\nclass Mine(maskkit.Strategy):\n    name = 'mine'\n\n    def weights(self, tokens):\n        while True: pass\n"
    )
    told = first_warning("preview", rows(tmp_path / "rows.jsonl", "x"), "--model", "tiny", "--strategy", f"{file}:Mine")
    assert told == f"warning: {tmp_path / 'rows.jsonl'}:1: strategy '{file}:Mine' is not done after 0.3 s\n"


def test_data_workers_tell_too(tmp_path: Path):
    """They are processes of their own, so each has somebody who watches."""
    data = rows(tmp_path / "rows.jsonl", *(["a" * 60 + "!"] * 2))
    code = (
        "import sys; from maskkit import embedded; from maskkit.masker.worker import Recipe; from maskkit.strategy import slow\n"
        "from maskkit.masker import worker; from maskkit.records import read_records\n"
        "slow.PATIENCE = 0.3\n"
        "import io, pickle, yaml\n"
        "tasks = io.BytesIO(pickle.dumps(Recipe(embedded.tiny_tokenizer(), {'strategy': yaml.safe_load(sys.argv[2])}))\n"
        "    + pickle.dumps(('make', list(read_records(sys.argv[1])))))\n"
        "worker.serve(tasks, io.BytesIO())\n"
    )
    assert f"{data}:1: strategy 'weighted' is not done" in first_warning(data, HOPELESS, code=code)


def test_built_in_strategies_without_expressions_start_no_process(tmp_path: Path):
    code = IMPATIENT + "; print(slow._watch)"
    data = rows(tmp_path / "rows.jsonl", "x")
    done = subprocess.run(
        [sys.executable, "-c", code, "lint", data, "--model", "tiny", "--strategy", "{product: [assistant-only, weighted]}"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("None\n")


def test_what_is_quick_is_not_told_of(tmp_path: Path):
    """Many quick searches, which together take longer than the patience; and the process that watched has ended."""
    code = "import time; from maskkit.strategy import slow; slow.PATIENCE = 0.2\n"
    code += "for number in range(40):\n    with slow.Asked(f'row {number}', 'x'): time.sleep(0.02)\nprint(slow._watch.owner)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip().isdigit()
