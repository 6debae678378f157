"""Does `maskkit prepare` give the same files, to the last byte, however often it is killed on the way?

    python -m tests.campaigns.prepare [--rows 100000] [--kills 3] [--seed 0] [--workers 2]

Prepares a file of conversations once undisturbed and once with ``kill -9`` at random moments, each followed by the same command again, and
compares the folders.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from maskkit import embedded

DATE = "2026-01-01T00:00:00"
COMMAND = (
    "import sys; from maskkit.prepare import Settings, prepare; "
    "prepare([sys.argv[1]], sys.argv[2], Settings(model='tiny', max_length=256, date=sys.argv[3]), workers=int(sys.argv[4]), "
    "rows_per_file=int(sys.argv[5]))"
)


@dataclass
class Outcome:
    """What a campaign found."""

    files: int
    kills: list[int]
    """How many files were there at each kill."""
    seconds: float
    """Of the undisturbed run."""


def write_rows(path: Path, count: int) -> None:
    """``count`` different conversations, made of the bundled ones."""
    bundled = list(embedded.quickstart_rows())
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = bundled[number % len(bundled)]
            messages = [dict(message) for message in row["messages"]]
            messages[-1]["content"] = f"{messages[-1].get('content') or ''} ({number})"
            file.write(json.dumps({**row, "messages": messages}, ensure_ascii=False) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def campaign(folder: Path, rows: int, kills: int, seed: int, workers: int, rows_per_file: int) -> Outcome:
    """Run it in an empty folder. Raises AssertionError where the two ways differ."""
    draw, data = random.Random(seed), folder / "rows.jsonl"
    write_rows(data, rows)
    started = time.monotonic()
    assert _start(data, folder / "once", workers, rows_per_file).wait() == 0
    seconds, files = time.monotonic() - started, -(-rows // rows_per_file)
    seen = []
    for number in range(1, kills + 1):
        moment = files * (number - draw.random()) / (kills + 1)
        seen.append(_killed_at(moment, _start(data, folder / "often", workers, rows_per_file), folder / "often", draw))
    assert _start(data, folder / "often", workers, rows_per_file).wait() == 0
    once, often = contents(folder / "once"), contents(folder / "often")
    assert once.keys() == often.keys(), f"other files: {sorted(once.keys() ^ often.keys())}"
    different = [name for name in once if once[name] != often[name]]
    assert not different, f"files that differ: {different}"
    return Outcome(len(once) - 1, seen, seconds)


def _start(data: Path, output: Path, workers: int, rows_per_file: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COMMAND, str(data), str(output), DATE, str(workers), str(rows_per_file)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _killed_at(files: float, process: subprocess.Popen[bytes], folder: Path, draw: random.Random) -> int:
    """Kill the process somewhat after so many files are there; returns how many there were."""
    while process.poll() is None and len(list((folder / "data").glob("*.parquet"))) < files:
        time.sleep(0.02)
    time.sleep(draw.random() * 0.3)
    assert process.poll() is None, "it was done before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(list((folder / "data").glob("*.parquet")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 100_000), ("kills", 3), ("seed", 0), ("workers", 2), ("rows-per-file", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), chosen.rows, chosen.kills, chosen.seed, chosen.workers, chosen.rows_per_file)
    print(f"{chosen.rows:,} conversations, {found.files} files, {chosen.workers} workers: {found.seconds:.0f} s undisturbed")
    print(f"killed {chosen.kills} times with -9, at {', '.join(map(str, found.kills))} files, and gone on with (seed {chosen.seed})")
    print("every file and the manifest are the same to the last byte")


if __name__ == "__main__":
    main()
