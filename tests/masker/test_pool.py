"""Worker processes: the same examples for any number of them, errors by row, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from maskkit import embedded
from maskkit.errors import ConfigError, DataError, StrategyError, TrainingError
from maskkit.masker.pool import WorkerPool, encode_all
from maskkit.masker.worker import Recipe
from maskkit.records import to_record

STRATEGY = """
import os
import time

import maskkit


class Odd(maskkit.Strategy):
    "Trains answers; does something else at certain words."

    name = "odd"

    def weights(self, tokens):
        print("said by a strategy")
        if "boom" in tokens.text:
            raise KeyError("boom")
        if "nan" in tokens.text:
            return tokens.ids * float("nan")
        if "slow" in tokens.text:
            time.sleep(2)
        if "die" in tokens.text:
            os._exit(7)
        return tokens.where(kind="answer") * 0.5
"""


def records(count=40, **special):
    """Rows with answers of unequal length, one without; ``n30="boom"`` is what row 30 answers."""
    said = {int(number[1:]): word for number, word in special.items()}
    answers = [said.get(number, f"{number} " * (number % 7)) for number in range(count)]
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]} for answer in answers]
    rows[3] = {"messages": [{"role": "user", "content": "nobody answers"}]}
    return [to_record(row, f"data.jsonl:{number}") for number, row in enumerate(rows, 1)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("strategy") / "odd.py"
    path.write_text(STRATEGY)
    return Recipe(embedded.tiny_tokenizer(), {"strategy": f"{path}:Odd", "seed": 5})


def same(a, b):
    return a.tokens.text == b.tokens.text and a.tokens.seed == b.tokens.seed and np.array_equal(a.loss_weights, b.loss_weights)


def test_examples_come_in_order_and_do_not_depend_on_the_number_of_workers(recipe, caplog):
    here = recipe.masker()
    expected = [row for encoded in encode_all(here, records()) for row, _ in encoded.rows]
    said = [record.getMessage() for record in caplog.records if record.name == "maskkit.masker"]
    for count in (1, 3):
        caplog.clear()
        masker = recipe.masker()
        with WorkerPool(recipe, count) as pool:
            found = list(pool.encode(iter(records()), masker))
            weights = list(pool.weigh([[content for _, content in encoded.rows] for encoded in found]))
        rows = [row for encoded in found for row, _ in encoded.rows]
        assert len(rows) == len(expected) == 40
        assert all(map(same, rows, expected))
        assert all(np.array_equal(w, row.loss_weights) for (w,), row in zip(weights, rows, strict=True))
        assert masker.counts == here.counts != {}
        assert [record.getMessage() for record in caplog.records if record.name == "maskkit.masker"] == said


@pytest.mark.parametrize(
    ("special", "error", "words"),
    [
        ({"n30": "boom"}, (DataError, StrategyError), r"data\.jsonl:31.*boom"),
        ({"n30": "nan"}, StrategyError, r"data\.jsonl:31"),
        ({"n30": "die"}, TrainingError, r"data worker 1 ended with status 7 while it was at data\.jsonl:17 to data\.jsonl:32"),
    ],
)
def test_an_error_in_a_worker_names_its_row_after_the_rows_before_it(recipe, special, error, words):
    with WorkerPool(recipe, 2) as pool:
        found = pool.encode(iter(records(**special)), recipe.masker())
        assert len([next(found) for _ in range(16)]) == 16
        with pytest.raises(error, match=words):
            list(found)


def test_a_worker_that_takes_long_is_told_of_with_its_rows(recipe, monkeypatch, caplog):
    with WorkerPool(recipe, 1) as pool:
        assert list(pool.encode(records(16), recipe.masker()))  # it has started
        monkeypatch.setattr("maskkit.masker.pool.USUAL", 0.5)
        assert len(list(pool.encode(records(16, n5="slow"), recipe.masker()))) == 16
    told = [message for message in caplog.messages if "not done" in message]
    assert len(told) == 1
    assert told[0].startswith("data worker 0 is not done with data.jsonl:1 to data.jsonl:16 after 0 s: an expression of the strategy with ")


def test_records_are_read_ahead_no_further_than_needed(recipe):
    read = []

    def noted():
        for record in records(40) * 50:
            read.append(record)
            yield record

    with WorkerPool(recipe, 1) as pool:
        next(pool.encode(noted(), recipe.masker()))
    assert len(read) <= 16 * 6


ORPHANS = """
    import sys, time
    from maskkit import embedded
    from maskkit.masker.pool import WorkerPool
    from maskkit.masker.worker import Recipe

    pool = WorkerPool(Recipe(embedded.tiny_tokenizer(), {"strategy": "assistant-only"}), 2)
    print(*(worker._process.pid for worker in pool._workers), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_process_that_started_it(number):
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(ORPHANS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    workers = [int(pid) for pid in child.stdout.readline().split()]
    assert all(map(alive, workers))
    os.kill(child.pid, number)
    child.wait()
    child.stdout.close()
    limit = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def alive(pid):
    """Whether it runs; a zombie has ended, and waits to be noticed."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_pool_that_is_closed_has_no_processes(recipe):
    with WorkerPool(recipe, 2) as pool:
        pids = [worker._process.pid for worker in pool._workers]
        next(pool.encode(iter(records()), recipe.masker()))
    assert not any(map(alive, pids))


def test_a_masker_that_cannot_be_made_says_so(recipe):
    wrong = Recipe(recipe.tokenizer, {"strategy": "nonsense"})
    with WorkerPool(wrong, 1) as pool, pytest.raises(ConfigError, match="unknown strategy 'nonsense'"):
        list(pool.encode(iter(records()), recipe.masker()))
