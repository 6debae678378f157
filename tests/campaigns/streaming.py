"""Stream a file that is larger than what may be kept of it, and measure how much memory that takes.

    python -m tests.campaigns.streaming                      2 GB of JSON lines, then 0.5 GB of Parquet; about ten minutes
    python -m tests.campaigns.streaming --megabytes 4        what the tests run

Reading, shuffling, tokenizing, packing and making batches go through the whole file; nothing is trained. Most of a row is a field that is
read and not trained, since tokenizing is what takes the time. The file is made in a temporary folder. A process of its own is measured,
from before its shuffle buffer is filled, when its libraries are loaded, to the end of the file. Exit status 1 if its resident memory grows
by 100 MB or more, or if a row is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

MOST = 100.0
"""Megabytes by which memory may grow."""

WORDS = ("the", "model", "token", "weight", "loss", "mask", "trains", "answer", "reads", "file", "row", "long", "step", "learns")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--characters", type=int, default=40_000, help="of a row, on average")
    parser.add_argument("--buffer", type=int, default=500, help="rows of the shuffle buffer")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--measure", metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        return measure(arguments.measure, arguments.buffer, arguments.rows)
    print(
        f"python {platform.python_version()}, {platform.platform()}; {arguments.megabytes} MB, {arguments.characters} characters a row, "
        f"a buffer of {arguments.buffer} rows",
        flush=True,
    )
    sizes = {"jsonl": arguments.megabytes, "parquet": arguments.megabytes // 4}
    with tempfile.TemporaryDirectory() as name:
        return max(campaign(Path(name), kind, size, arguments.characters, arguments.buffer) for kind, size in sizes.items())


def campaign(folder: Path, kind: str, megabytes: int, characters: int, buffer: int) -> int:
    """Make the file, stream it in another process, print the record; returns the exit status."""
    path = folder / f"rows.{kind}"
    rows = write_rows(path, megabytes, characters)
    command = [sys.executable, "-m", "tests.campaigns.streaming", "--measure", str(path), "--buffer", str(buffer), "--rows", str(rows)]
    started = time.monotonic()
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    right = found["rows"] == rows and found["grown"] < MOST
    size, tokens = path.stat().st_size / 1e6, found["tokens"] / 1e6
    print(f"{kind}: {size:.0f} MB, {rows} rows; seen {found['rows']}, {tokens:.1f} million tokens in {found['batches']} batches")
    print(
        f"  resident {found['before']:.0f} MB before the first batch, {found['first']:.0f} MB when the buffer was seen, at most "
        f"{found['most']:.0f} MB: grown by {found['grown']:.0f} MB, less than {MOST:.0f} allowed; "
        f"{time.monotonic() - started:.0f} s: {'right' if right else 'WRONG'}",
        flush=True,
    )
    path.unlink()
    return int(not right)


def write_rows(path: Path, megabytes: int, characters: int) -> int:
    """A file of that size, no two rows of it alike; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(0)
    notes = " ".join(draw.choices(WORDS, k=400_000))
    rows = written = 0
    schema = pa.schema([("text", pa.string()), ("notes", pa.string())])
    with path.open("wb") as file:
        table = pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) if path.suffix == ".parquet" else None
        while written < megabytes * 1_000_000:
            part = [
                {"text": f"{rows + n} {part_of(draw, notes, characters // 40)}", "notes": part_of(draw, notes, characters)}
                for n in range(64)
            ]
            if table:
                table.write_table(pa.Table.from_pylist(part, schema))
            else:
                file.writelines(json.dumps(each).encode() + b"\n" for each in part)
            rows, written = rows + len(part), written + sum(len(each["text"]) + len(each["notes"]) for each in part)
        if table:
            table.close()
    return rows


def part_of(draw: random.Random, text: str, characters: int) -> str:
    """A part of the text; the longest are three times as long as the shortest."""
    start = draw.randrange(len(text) - 2 * characters)
    return text[start : start + draw.randrange(characters // 2, characters * 3 // 2)]


def measure(path: str, buffer: int, rows: int) -> int:
    """Stream the file once, and print what that took as JSON."""
    import torch

    from maskkit import Masker, embedded
    from maskkit.batching import DataCollator
    from maskkit.config import DataConfig
    from maskkit.engine.batches import Batcher
    from maskkit.engine.plan import Batching
    from maskkit.engine.stream import Blocks, Source, StreamOrder, first_rows
    from maskkit.loss import Normalizer
    from maskkit.masker.pool import encode_all

    tokenizer = embedded.tiny_tokenizer()
    masker = Masker(tokenizer, "causal", max_length=2048)
    _, wanted = first_rows(masker, DataConfig(train=path, eval=None, streaming=True))
    blocks = Blocks([Source(path, 1.0)], buffer, 0, wanted)
    order = StreamOrder(blocks, lambda records: encode_all(masker, records), Batching(4, pack_length=4096), 0)
    batcher = Batcher(DataCollator(tokenizer, packing=True), Normalizer(), 4, torch.device("cpu"))
    sources: set[str] = set()
    before, first, most, tokens, batches = resident(), 0.0, 0.0, 0, 0
    while len(sources) < rows and order.rows_taken < rows + 2 * buffer:  # what fills the last block comes from the beginning
        (batch,) = batcher(order.weigh(order.take(1)))
        sources |= {row.tokens.record.source for row in batch.rows}
        tokens, batches = tokens + batch.token_count, batches + 1
        first = first or (resident() if len(sources) >= buffer else 0.0)
        most = max(most, resident())
    found = {"rows": len(sources), "tokens": tokens, "batches": batches, "before": before, "first": first, "most": most}
    print(json.dumps(found | {"grown": most - before}))
    return 0


def resident() -> float:
    """Megabytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
