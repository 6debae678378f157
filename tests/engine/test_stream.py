"""Rows that are streamed: every one comes, in shares, shuffled, and from where the run ended."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from maskkit import Masker, embedded
from maskkit.config import DataConfig
from maskkit.engine import stream as module
from maskkit.engine import train
from maskkit.engine.plan import Batching
from maskkit.engine.stream import MOST_HELD_OUT, Blocks, Source, StreamOrder, first_rows
from maskkit.errors import ConfigError, DataError
from maskkit.masker.pool import encode_all
from tests.engine.runs import chat, config, dropout_model, measured, weights_of, write_rows

MASKER = Masker(embedded.tiny_tokenizer(), "causal")


def texts(path, count, name):
    path.write_text("".join(json.dumps({"text": f"{name} {number} " + "x" * (number % 9)}) + "\n" for number in range(count)))
    return str(path)


def stream(sources, size=20, seed=0, batching=None, read=lambda record: record):
    blocks = Blocks([Source(path, share) for path, share in sources], size, seed, read)
    return StreamOrder(blocks, lambda records: encode_all(MASKER, records), batching or Batching(2), seed)


def seen(order, steps):
    """The text of each row, plan by plan."""
    plans = []
    for _ in range(steps):
        plans += [[[row.tokens.text for row in pack] for pack in packs] for packs in order.weigh(order.take(1))]
    return plans


def flat(plans):
    return [text for plan in plans for pack in plan for text in pack]


def test_a_pass_holds_every_row_once_and_they_are_shuffled_within_blocks(tmp_path):
    path = texts(tmp_path / "a.jsonl", 60, "a")
    rows = flat(seen(stream([(path, 1.0)]), 30))
    assert len(set(rows)) == len(rows) == 60
    for block in range(3):
        numbers = [int(row.split()[1]) for row in rows[20 * block : 20 * block + 20]]
        assert sorted(numbers) == list(range(20 * block, 20 * block + 20))
        assert numbers != sorted(numbers)
    assert rows != flat(seen(stream([(path, 1.0)], seed=1), 30))


def test_shares_hold_however_long_the_files_are_and_a_short_one_begins_anew(tmp_path):
    sources = [(texts(tmp_path / "long.jsonl", 900, "long"), 3.0), (texts(tmp_path / "short.jsonl", 7, "short"), 1.0)]
    rows = flat(seen(stream(sources, size=100), 400))
    names = Counter(row.split()[0] for row in rows)
    assert 150 < names["short"] < 250
    of_short = Counter(row for row in rows if row.startswith("short"))
    assert len(of_short) == 7
    assert max(of_short.values()) - min(of_short.values()) <= 1 + len(rows) // 100
    assert max(Counter(row for row in rows if row.startswith("long")).values()) == 1


WAYS = {
    "plain": Batching(3),
    "budget": Batching(tokens=90),
    "packed": Batching(2, pack_length=60),
    "packed budget": Batching(tokens=150, pack_length=60),
    "groups": Batching(3, by_length=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_stream_goes_on_as_the_first_would_have(tmp_path, monkeypatch, way):
    """From any window of a block."""
    for name, size in (("WINDOW", 9), ("PACKING_WINDOW", 13), ("GROUPED_BATCHES", 4)):
        monkeypatch.setattr(module, name, size)
    sources = [(texts(tmp_path / "a.jsonl", 70, "a"), 1.0), (texts(tmp_path / "b.jsonl", 11, "b"), 0.5)]
    batching = WAYS[way]
    expected = seen(stream(sources, 40, batching=batching), 30)
    for done in (0, 7, 20):
        order = stream(sources, 40, batching=batching)
        assert seen(order, done) == expected[:done]
        state = json.loads(json.dumps(order.state_dict()))
        again = stream(sources, 40, batching=batching)
        again.load_state_dict(state)
        assert again.state_dict() == state
        assert seen(again, 30 - done) == expected[done:]
        assert again.rows_taken == len(flat(expected))


def test_packs_of_a_stream_are_full(tmp_path):
    order = stream([(texts(tmp_path / "a.jsonl", 300, "a"), 1.0)], 300, batching=Batching(2, pack_length=200))
    totals = [sum(len(row) for row in pack) for _ in range(6) for packs in order.weigh(order.take(1)) for pack in packs]
    assert max(totals) <= 200
    assert sorted(totals)[2] > 180


def test_rows_that_make_no_example_are_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": "long " * 90 if n % 3 else f"row {n}"}) + "\n" for n in range(300)))
    masker = Masker(embedded.tiny_tokenizer(), "causal", max_length=20, truncation="drop")
    blocks = Blocks([Source(str(path), 1.0)], 300, 0, lambda record: record)
    order = StreamOrder(blocks, lambda records: encode_all(masker, records), Batching(10), 0)
    rows = flat(seen(order, 10))
    assert len(set(rows)) == 100
    assert masker.counts["dropped"] >= 200  # those of the next window too


def test_a_stream_of_nothing_but_such_rows_is_an_error_not_an_endless_search(tmp_path):
    path = tmp_path / "rows.jsonl"
    masker = Masker(embedded.tiny_tokenizer(), "causal", max_length=20, truncation="drop")
    path.write_text(300 * (json.dumps({"text": "long " * 90}) + "\n"))
    for share in (None, 0.1):
        with pytest.raises(DataError, match=r"rows\.jsonl: all rows to train on are dropped: \d+ the row was longer .*max_length is 20"):
            first_rows(masker, DataConfig(train=str(path), eval=share, streaming=True))
    path.write_text(path.read_text() + json.dumps({"text": "short"}) + "\n")
    data, _ = first_rows(masker, DataConfig(train=str(path), eval=None, streaming=True))
    assert len(data.train) == 1


def test_held_out_rows_are_those_of_the_hash_and_never_trained(tmp_path):
    path = texts(tmp_path / "a.jsonl", 400, "a")
    data, wanted = first_rows(MASKER, DataConfig(train=path, eval=0.1, streaming=True))
    held_out = {row.tokens.text for row in data.held_out}
    assert 20 < len(held_out) < 70
    rows = flat(seen(stream([(path, 1.0)], 50, read=wanted), 300))
    assert not held_out & set(rows)
    assert len(held_out) + len(set(rows)) == 400
    assert {row.tokens.text for row in data.train} < set(rows)
    from_file = texts(tmp_path / "b.jsonl", 30, "a")
    data, wanted = first_rows(MASKER, DataConfig(train=path, eval=from_file, streaming=True))
    assert len(data.held_out) == 30
    assert len(set(flat(seen(stream([(path, 1.0)], 50, read=wanted), 300)))) == 370


def test_only_some_of_the_held_out_rows_are_kept(tmp_path):
    path = texts(tmp_path / "a.jsonl", 2 * MOST_HELD_OUT, "a")
    data, wanted = first_rows(MASKER, DataConfig(train=path, eval=0.9, streaming=True))
    assert len(data.held_out) == MOST_HELD_OUT
    assert not {row.tokens.text for row in data.held_out} & set(flat(seen(stream([(path, 1.0)], 50, read=wanted), 50)))


def test_a_file_without_rows_to_train_on_is_named(tmp_path):
    path = texts(tmp_path / "a.jsonl", 5, "a")
    with pytest.raises(DataError, match=r"a\.jsonl: no row to train on"):
        stream([(path, 1.0)], read=lambda record: None).take(1)
    with pytest.raises(DataError, match="no row is in that share"):
        first_rows(MASKER, DataConfig(train=path, eval=1e-9, streaming=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_run_can_be_gone_on_with(tmp_path, workers):
    rows = write_rows(tmp_path / "rows.jsonl", 60, lambda n: chat(f"What is {n} + 1?{'<|im_end|>' * (n % 3 == 0)}", "I add.", str(n + 1)))
    training = {"max_steps": 5, "save_steps": 2, "keep_last": None, "eval_steps": 2, "packing": True, "per_device_train_batch_size": 1}
    data = {"train": rows, "eval": 0.2, "streaming": True, "shuffle_buffer": 25, "workers": workers}
    chosen = config(tmp_path, model=dropout_model(tmp_path / "model"), data=data, max_length=150, training=training, answers={"count": 2})
    whole = train(chosen, progress=False)
    assert whole.train_rows > 20
    assert whole.findings["control-tokens"] > 10
    before, weights, samples = measured(whole.metrics_path), weights_of(whole.model_dir), whole.samples_path.read_text()
    for step in (4, 5):
        shutil.rmtree(whole.output_dir / "checkpoints" / f"step-{step}")
    shutil.rmtree(whole.model_dir)
    again = train(chosen, progress=False, resume=True)
    assert (measured(again.metrics_path), weights_of(again.model_dir), again.samples_path.read_text()) == (before, weights, samples)
    assert again.train_rows == whole.train_rows
    assert again.rows_seen == whole.rows_seen == whole.train_rows
    assert whole.epochs is None
    assert again.findings == whole.findings


@pytest.mark.parametrize("done", [1, 5, 9, 14])
def test_what_is_noticed_is_counted_on(tmp_path, monkeypatch, done):
    """As often as if the stream had never ended, wherever in a window it was gone on with."""
    monkeypatch.setattr(module, "WINDOW", 7)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": "long " * (90 if n % 3 else 1)}) + "\n" for n in range(50)))

    def begun():
        masker = Masker(embedded.tiny_tokenizer(), "causal", max_length=20, truncation="drop")
        blocks = Blocks([Source(str(path), 1.0)], 20, 0, lambda record: record)
        order = StreamOrder(blocks, lambda records: encode_all(masker, records), Batching(2), 0, masker.counts)
        return masker.counts, order

    counts, order = begun()
    order.take(done)
    state = json.loads(json.dumps(order.state_dict()))
    again_counts, again = begun()
    again_counts["dropped"] += 100  # of the first rows, which both runs look at
    again.load_state_dict(state)
    assert again_counts == counts
    for _ in range(6):
        order.take(1)
        again.take(1)
        assert again_counts == counts
    assert counts["dropped"] > 15


def test_a_streamed_file_that_has_changed_behind_the_first_rows_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_ROWS", 4)
    rows = write_rows(tmp_path / "rows.jsonl", 60)
    data = {"train": rows, "eval": None, "streaming": True, "shuffle_buffer": 10}
    training = {"max_steps": 1, "save_steps": 1, "eval_steps": 0}
    chosen = config(tmp_path, data=data, training=training, answers={"count": 0})
    shutil.rmtree(train(chosen, progress=False).model_dir)
    content = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(content.replace("What is 50", "What is 51"))
    with pytest.raises(ConfigError, match=r"rows\.jsonl: the file has changed since the checkpoint .* found by their place in it"):
        train(chosen, progress=False, resume=True)
