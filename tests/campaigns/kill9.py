"""Kill a run with SIGKILL at random moments, resume it, and compare with the run that was never killed.

    python -m tests.campaigns.kill9                          30 kills; about five minutes on one core
    python -m tests.campaigns.kill9 --kills 3 --seed 7       what the tests run

Every third kill comes after a random time, while training, evaluating or saving; the others come at a random change to the run's files
(opening one to write, renaming, removing, making a folder), so that every moment of saving has its turn. Resumed runs may be killed again,
up to three times. A run has to end with the same weights, byte for byte, the same metrics (times aside) and the same answers.
Exit status 1 if one does not. The record of the last whole campaign is kept in kill9.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # before torch is imported: children are forks of this process

import torch

from maskkit.cli.main import run as maskkit
from tests.engine.runs import config, dropout_model, measured, weights_of

STEPS = 10
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
"""Events of Python's audit hooks that change the disk, beside opening a file to write."""


@dataclass
class Trial:
    """One run that is killed, perhaps more than once, and resumed to its end."""

    number: int
    kills: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return campaign(Path(name), arguments.kills, arguments.seed)


def campaign(folder: Path, kills: int, seed: int) -> int:
    """Run it in ``folder`` and print the record; returns the exit status."""
    print(f"python {platform.python_version()}, torch {torch.__version__}, {platform.platform()}; seed {seed}")
    write_config(folder)
    started = time.monotonic()
    seconds, changes = reference(folder)
    print(f"a run of {STEPS} steps, each with a checkpoint: {seconds:.1f} s after reading its data, {changes} changes to its files")
    trials: list[Trial] = []
    while sum(len(trial.kills) for trial in trials) < kills:
        trial = run_trial(folder, len(trials) + 1, random.Random(f"{seed} {len(trials)}"), seconds, changes)
        trials.append(trial)
        result = "; ".join(trial.wrong) or "the same to the last bit"
        print(f"{trial.number:3}  {', then '.join(trial.kills)}: {result}", flush=True)
    happened = [kill for trial in trials for kill in trial.kills]
    saving, failed = sum("saving" in kill for kill in happened), sum(bool(trial.wrong) for trial in trials)
    print(f"{len(happened)} kills in {len(trials)} runs, {saving} while saving: {len(trials) - failed} runs ended the same, {failed} not")
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def write_config(folder: Path) -> None:
    """Rows, a model with dropout and config.yaml; 18 training rows and 8 a step, so that steps cross the ends of epochs."""
    training = {"max_steps": STEPS, "save_steps": 1, "eval_steps": 3}
    chosen = config(folder, model=dropout_model(folder / "base"), training=training)
    (folder / "run.yaml").write_text(chosen.to_yaml(), encoding="utf-8")


def reference(folder: Path) -> tuple[float, int]:
    """The run that is never killed: seconds from its first line of metrics to the end, and how often it changes its files."""
    child = start(folder, "whole", [])
    started = wait_for(folder / "whole" / "metrics.jsonl")
    if finish(child):
        raise SystemExit(f"the run that is not killed fails: {last_line(folder)}")
    return time.monotonic() - started, int((folder / "changes").read_text())


def run_trial(folder: Path, number: int, draw: random.Random, seconds: float, changes: int) -> Trial:
    """Start, kill, resume (and kill again) until the run comes to its end; then compare."""
    trial, name, options = Trial(number), f"run-{number}", []
    for attempt in range(draw.choice([1, 2, 3])):
        after, change = (None, draw.randrange(changes)) if (number + attempt) % 3 else (draw.uniform(0, seconds), None)
        status = killed_run(folder, name, options, after, change)
        if status != -signal.SIGKILL:
            break
        trial.kills.append(f"killed {moment(folder / name)}")
        options = how_to_go_on(folder / name)
    else:
        status = finish(start(folder, name, options))
    trial.wrong = [f"ended with status {status}: {last_line(folder)}"] if status else differences(folder / "whole", folder / name)
    shutil.rmtree(folder / name)
    return trial


def killed_run(folder: Path, name: str, options: list[str], after: float | None, change: int | None) -> int:
    """Run and kill, after some seconds of training or before a change to the files; its status, 0 if it came to its end before."""
    metrics = folder / name / "metrics.jsonl"
    begun = metrics.stat().st_mtime_ns if metrics.exists() else 0
    child = start(folder, name, options, change)
    if after is not None:
        wait_for(metrics, begun)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return finish(child)


def how_to_go_on(output: Path) -> list[str]:
    """``--resume``; where no checkpoint was finished before the kill, a new start."""
    return ["--resume"] if any((output / "checkpoints").glob("step-*")) else ["--set", "overwrite_output_dir=true"]


def moment(output: Path) -> str:
    """What the run was doing when it was killed, as its folder shows."""
    steps = [line["step"] for line in whole_lines(output / "metrics.jsonl") if line["event"] == "train"]
    parts = [path.name for path in output.rglob(".*") if path.name.endswith(".part")]
    saved = max((int(path.name[5:]) for path in (output / "checkpoints").glob("step-*")), default=0)
    doing = f"while saving ({', '.join(sorted(parts))})" if parts else "while training" if not (output / "model").exists() else "at the end"
    return f"{doing} after step {steps[-1] if steps else 0}, last checkpoint {saved or 'none'}"


def whole_lines(metrics: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in metrics.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if metrics.exists() else []


def differences(whole: Path, output: Path) -> list[str]:
    """What of the resumed run is not as in the one that was never killed."""
    found = []
    if weights_of(whole / "model") != weights_of(output / "model"):
        found.append("OTHER WEIGHTS")
    if measured(whole / "metrics.jsonl") != measured(output / "metrics.jsonl"):
        found.append("OTHER METRICS")
    if (whole / "samples.jsonl").read_bytes() != (output / "samples.jsonl").read_bytes():
        found.append("OTHER ANSWERS")
    return found


def start(folder: Path, name: str, options: list[str], change: int | None = None) -> int:
    """``maskkit train run.yaml --output-dir NAME OPTIONS`` in a fork, which kills itself before the change with that number; its pid."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        counted = count_changes(folder / name, change)
        status = maskkit(["train", str(folder / "run.yaml"), "--output-dir", str(folder / name), *options])
        (folder / "changes").write_text(str(len(counted)))
    finally:
        sys.stdout.flush()
        os._exit(status)


def count_changes(output: Path, last: int | None) -> list[str]:
    """Collects the names of all changes to files in ``output`` from now on; before the one with the number ``last`` the process dies."""
    seen: list[str] = []

    def hook(event: str, given: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in CHANGES) or not isinstance(given[0], (str, os.PathLike)):
            return
        path = os.fspath(given[0])
        if path.startswith(str(output)) or not Path(path).is_absolute():  # removing a folder names what is in it relative to it
            if len(seen) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            seen.append(event)

    sys.addaudithook(hook)
    return seen


def wait_for(file: Path, since: int = 0) -> float:
    """Wait until the file is written after the time ``since`` (ns); returns the time."""
    limit = time.monotonic() + 120
    while not (file.exists() and file.stat().st_mtime_ns > since):
        if time.monotonic() > limit:
            raise SystemExit(f"{file} was not written in 120 s: {last_line(file.parent.parent)}")
        time.sleep(0.005)
    return time.monotonic()


def finish(child: int) -> int:
    """Wait for the end; the exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def last_line(folder: Path) -> str:
    """The last thing that a run said."""
    return ((folder / "log").read_text(encoding="utf-8").strip().splitlines() or ["nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
