"""Two processes that cannot begin end as one does: the same status, and what is wrong is said once.

The first process keeps the store of the group, as where no launcher does: it must not be gone before the other one knows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.runs import chat, config, write_rows
from tests.engine.test_two_ranks import free_port

PROGRAM = """
import contextlib, io, json, os, sys
from maskkit.cli.main import run

found = {}
for name, port in json.loads(sys.argv[1]).items():
    os.environ["MASTER_PORT"] = str(port)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = run(["train", name + ".yaml"])
    found[name] = [status, [line for line in said.getvalue().splitlines() if line.startswith("error")]]
print(json.dumps(found))
"""
LATE = """
import os, time

import maskkit


class Late(maskkit.Strategy):
    "Gives the first row no weight that is one, some time later in the second process."

    name = "late"

    def weights(self, tokens):
        time.sleep(3.0 * (os.environ["RANK"] == "1"))
        return tokens.ids * float("nan")
"""
STATUSES = {"key": 2, "held": 2, "files": 2, "row": 2, "late": 1}
SAID = {
    "key": "key.yaml: unknown key 'traning'. Did you mean 'training'?",
    "held": "already holds a run (run.json)",
    "files": "data: rank 1 finds own/x/b.jsonl and rank 0 does not: all processes have to see the same files",
    "row": "bad.jsonl:2: messages[1].content is 3",
    "late": "strategy 'late.py:Late' gave token 0",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What both processes left of each case."""
    folder = tmp_path_factory.mktemp("ends")
    values = {name: config(folder, name, answers={"count": 0}).model_dump(mode="json") for name in STATUSES}
    values["key"]["traning"] = {}
    (folder / "held").mkdir()
    (folder / "held/run.json").write_text("{}")
    for rank in (0, 1):  # as a folder that is not the same one on every machine
        for name in "ab"[: rank + 1]:
            (folder / "other" / str(rank)).mkdir(parents=True, exist_ok=True)
            write_rows(folder / "other" / str(rank) / f"{name}.jsonl", 3)
    values["files"]["data"] = {"train": "own/*/*.jsonl", "eval": None}
    bad = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": 3}]}
    write_rows(folder / "bad.jsonl", 2, lambda n: bad if n else chat("?", "I see.", "!"))
    values["row"]["data"] = {"train": "bad.jsonl", "eval": None}
    (folder / "late.py").write_text(LATE)
    values["late"]["strategy"] = "late.py:Late"
    for name, each in values.items():
        (folder / f"{name}.yaml").write_text(json.dumps(each))
    return both(folder, {name: free_port() for name in STATUSES})


def both(folder: Path, ports: dict[str, int]):
    processes = []
    for rank in (0, 1):
        own = folder / f"rank{rank}"
        own.mkdir()
        for path in folder.iterdir():
            if path.name.endswith((".yaml", ".jsonl", ".py")):
                (own / path.name).symlink_to(path)
        (own / "own").mkdir()
        (own / "own/x").symlink_to(folder / "other" / str(rank))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "RANK": str(rank)}
        command = [sys.executable, "-c", PROGRAM, json.dumps(ports)]
        processes.append(subprocess.Popen(command, cwd=own, env=environment, stdout=subprocess.PIPE, text=True))
    return [json.loads(process.communicate(timeout=200)[0].splitlines()[-1]) for process in processes]


@pytest.mark.parametrize("name", STATUSES)
def test_both_end_with_the_status_of_one_and_it_is_said_once(ended, name):
    (first, said_first), (second, said_second) = (found[name] for found in ended)
    assert (first, second) == (STATUSES[name], STATUSES[name])
    [said] = said_first + said_second
    assert SAID[name] in said


def test_what_only_the_first_one_looks_at_is_said_by_it(ended):
    assert ended[0]["held"][1]
    assert not ended[1]["held"][1]
