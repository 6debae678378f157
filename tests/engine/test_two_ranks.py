"""Two processes are one run: the same losses, gradients and measurements as one process, checkpoints that either can go on from."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from maskkit import Masker, embedded
from maskkit.batching import DataCollator
from maskkit.config import RunConfig
from maskkit.engine import train
from maskkit.engine.answers import greedy_answers, question_of, stop_ids
from maskkit.engine.batches import Batcher
from maskkit.engine.evaluate import evaluate
from maskkit.engine.metrics import read_metrics
from maskkit.engine.predict import Predictor
from maskkit.engine.rows import StoredRows
from maskkit.errors import ConfigError
from maskkit.loss import Normalizer
from tests.engine.runs import config, dropout_model, measured, weights_of, write_rows
from tests.engine.test_checkpoints import assert_every_damage_is_seen
from tests.engine.test_evaluate import ROWS, STRATEGY
from tests.engine.two_ranks import SHARDS, cut
from tests.reference import tiny_llama

STEPS = 4
COMBINED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stream": (
        {"packing": True, "per_device_train_batch_size": 2},
        {
            "data": {"streaming": True, "shuffle_buffer": 9, "workers": 1},
            "max_length": 150,
            "strategy": {"product": ["assistant-only", "dft"]},
            "loss": {"normalize_by": "reweighted", "normalization": "tokens"},
        },
    ),
    "grouped": ({"group_by_length": True, "save_best": "answer", "early_stopping_patience": 3}, {}),
}
"""Options that meet on two processes: of ``training``, and others."""
FAILING = """
import os

import maskkit


class Failing(maskkit.Strategy):
    "Fails in the second process, in the middle of training."

    name = "failing"
    asked = 0

    def weights(self, tokens):
        Failing.asked += 1
        if os.environ.get("RANK") == "1" and Failing.asked > 40:
            raise ValueError("no idea")
        return tokens.where(kind="answer")
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def chosen(folder: Path, name: str, processes: int, **changes: Any) -> RunConfig:
    """Eight rows a step, by one process or two."""
    training = {"max_steps": STEPS, "gradient_accumulation_steps": 2 // processes, "save_steps": 2, "eval_steps": 2, "keep_last": None}
    if "data" in changes:
        changes["data"] = {"train": write_rows(folder / "rows.jsonl"), "eval": 0.25, **changes["data"]}
    return config(folder, name, training=training | changes.pop("training", {}), answers={"count": 3, "max_new_tokens": 4}, **changes)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What one process did alone, and then two together: the folder, and the results of process 0 and 1."""
    folder = tmp_path_factory.mktemp("two")
    train(chosen(folder, "alone", 1), progress=False)
    for shard in ("full", "none"):
        cut(folder / "alone", folder / f"alone-then-{shard}", 2)
    dropout = dropout_model(folder / "dropout")
    runs = {f"run-{shard}": chosen(folder, shard, 2, training={"shard": shard}) for shard in SHARDS}
    for shard in ("full", "none"):
        for name, output in (("run-dropout", "dropout"), ("again-dropout", "again")):
            runs[f"{name}-{shard}"] = chosen(folder, f"{output}-{shard}", 2, model=dropout, training={"shard": shard})
    for how, (training, changes) in COMBINED.items():
        for name, output in (("run-combined", "combined"), ("again-combined", "again-combined")):
            runs[f"{name}-{how}"] = chosen(folder, f"{output}-{how}", 2, training={**training, "shard": "full"}, **changes)
    runs |= {f"resume-{shard}": chosen(folder, f"alone-then-{shard}", 2, training={"shard": shard}) for shard in ("full", "none")}
    (folder / "failing.py").write_text(FAILING)
    runs["fail"] = chosen(folder, "fail", 2, strategy=f"{folder}/failing.py:Failing")
    for name, each in runs.items():
        (folder / f"{name}.yaml").write_text(each.to_yaml())
    start_two(folder)
    return folder, *(json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))


def start_two(folder: Path) -> None:
    ports = f"{free_port()},{free_port()}"
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.two_ranks", str(folder)]
    with ExitStack() as files:
        logs = [files.enter_context((folder / f"{rank}.log").open("w")) for rank in (0, 1)]
        started = [
            subprocess.Popen(command, env={**environment, "RANK": str(rank)}, stdout=logs[rank], stderr=subprocess.STDOUT)
            for rank in (0, 1)
        ]
        statuses = [process.wait(timeout=300) for process in started]
    assert statuses == [0, 0], "\n".join((folder / f"{rank}.log").read_text()[-3000:] for rank in (0, 1))


def test_loss_and_gradients_are_those_of_the_global_batch_however_it_is_split(two):
    """4 + 4, 5 + 3 and 8 + 0 rows, unequal micro-batches, every normalization, spread or not."""
    for results in two[1:]:
        assert len(results["gradients"]) == 72
        wrong = {
            case: found
            for case, found in results["gradients"].items()
            if max(map(abs, found)) > (1e-12 if case.endswith("float64") else 1e-6)
        }
        assert not wrong


def test_layers_that_are_computed_twice_give_the_same_gradients(two):
    for results in two[1:]:
        assert max(map(abs, results["recomputed"])) < 1e-12


def test_clipping_limits_the_norm_over_all_processes(two):
    for results in two[1:]:
        assert results["clipped"] == {shard: pytest.approx(0.01, rel=1e-5) for shard in SHARDS}


def test_evaluation_is_the_exact_mean_over_uneven_parts(two):
    tokenizer = embedded.tiny_tokenizer()
    masker = Masker(tokenizer, STRATEGY)
    batcher = Batcher(DataCollator(tokenizer), Normalizer("sequences"), 3, torch.device("cpu"))
    alone = evaluate(Predictor(tiny_llama(vocab_size=len(tokenizer))), masker, batcher, [masker(row) for row in ROWS])
    for results in two[1:]:
        assert len(results["evaluations"]) == 6
        for measured_together in results["evaluations"].values():
            for name, value in asdict(alone).items():
                assert measured_together[name] == pytest.approx(value, rel=1e-12), name


def test_the_answers_are_those_of_one_process_in_its_order(two):
    tokenizer = embedded.tiny_tokenizer()
    rows = [Masker(tokenizer, "assistant-only")(row) for row in ROWS]
    questions = [question for row in rows if (question := question_of(row)) is not None]
    predict = Predictor(tiny_llama(vocab_size=len(tokenizer)))
    alone = greedy_answers(predict, tokenizer, questions, stop_ids(StoredRows(rows).stop_ids, tokenizer), max_new_tokens=5, batch_size=2)
    expected = [reply.completion for reply in alone]
    for results in two[1:]:
        assert results["answers"] == {"none": expected, "full": expected}


def test_processes_agree_and_keep_what_is_their_own(two):
    first, second = (results["talk"] for results in two[1:])
    shared = {"gathered": [10, 11, 12], "totals": [2, 2.5], "decided": {"rank": 0}, "collected": [[0], [1]]}
    assert first.items() >= shared.items()
    assert second.items() >= shared.items()
    assert (first["own"], second["own"]) == ([], [10, 11, 12])
    assert (first["part"], second["part"]) == (["a", "c", "e"], ["b", "d"])
    assert first["random"] != second["random"]


def test_loss_modifiers_see_the_global_batch_of_all_processes(two):
    for results in two[1:]:
        assert len(results["reweighted"]) == 24
        assert max(max(map(abs, found)) for found in results["reweighted"].values()) < 1e-12


def test_packs_are_exact_on_two_processes_with_signed_weights_and_loss_modifiers(two):
    for results in two[1:]:
        assert len(results["packed"]) == 40
        assert not {case: found for case, found in results["packed"].items() if max(map(abs, found)) > 1e-12}


def test_parameters_that_only_one_process_can_hold_are_saved_and_unused_ones_are_left_alone(two):
    for results in two[1:]:
        found = results["scalars"]
        assert found["names"] == ["first", "second", "unused"]
        assert found["values"] == {"first": 1, "second": 2, "unused": 3}
        assert found["gradients"] == {"first": True, "second": True, "unused": False}


def test_every_damage_to_every_shard_is_seen(two, tmp_path):
    shutil.copytree(two[0] / "full" / "checkpoints", tmp_path / "checkpoints")
    seen = assert_every_damage_is_seen(tmp_path / "checkpoints", 2, 4)
    assert {"shards/shard-00001-model-00001-of-00001.safetensors", "shards/shard-00002-model-00001-of-00001.safetensors"} <= seen
    assert {"state.pt", "run.json", "manifest.json"} <= seen


@pytest.mark.parametrize("how", ["stream", "grouped"])
def test_streamed_packs_and_groups_are_dealt_out_as_one_process_takes_them(two, how):
    """Streamed rows in packs, from a worker, under a loss modifier, gone on with; and groups whose best model is kept."""
    folder, (training, changes) = two[0], COMBINED[how]
    alone = train(chosen(folder, f"{how}-alone", 1, training=training, **changes), progress=False)
    together = folder / f"combined-{how}"
    one, both = (read_metrics(path, "train") for path in (alone.metrics_path, together / "metrics.jsonl"))
    assert [line["loss"] for line in both] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    assert [line["trained_tokens"] for line in both] == [line["trained_tokens"] for line in one]
    assert (together / "best").exists() == ("save_best" in training)
    again = folder / f"again-combined-{how}"
    assert weights_of(again / "model") == weights_of(together / "model")
    assert measured(again / "metrics.jsonl") == measured(together / "metrics.jsonl")


def test_a_step_that_trains_nothing_names_the_rows_of_all_processes(two):
    for results in two[1:]:
        assert results["nothing"].endswith("Rows of this step: data.jsonl:1, data.jsonl:2")


@pytest.mark.parametrize("shard", SHARDS)
def test_two_processes_train_as_one_does(two, shard):
    folder = two[0]
    alone, together = (read_metrics(folder / name / "metrics.jsonl") for name in ("alone", shard))
    assert [(line["event"], line["step"]) for line in together] == [(line["event"], line["step"]) for line in alone]
    assert together[0] | {"date": ""} == alone[0] | {"date": "", "ranks": "2", "shard": shard}
    for one, both in zip(alone[1:], together[1:], strict=True):
        for name in one.keys() & {"loss", "grad_norm", "learning_rate", "tokens", "trained_tokens"}:
            assert both[name] == pytest.approx(one[name], rel=1e-5 if name == "grad_norm" else 1e-6), name
    assert (folder / shard / "samples.jsonl").read_text() == (folder / "alone" / "samples.jsonl").read_text()
    assert two[1]["trainings"] == two[2]["trainings"]


@pytest.mark.parametrize("shard", ["full", "none"])
def test_a_checkpoint_of_two_processes_is_gone_on_from_by_one(two, shard, caplog):
    folder = two[0]
    copy = folder / f"{shard}-then-alone"
    cut(folder / shard, copy, 2)
    with caplog.at_level("WARNING"):
        resumed = train(chosen(folder, copy.name, 1), progress=False, resume=True)
    assert "the checkpoint has random states of 2 processes, this run has 1" in caplog.text
    assert_same_losses(folder, resumed.metrics_path)


@pytest.mark.parametrize("shard", ["full", "none"])
def test_a_checkpoint_of_one_process_is_gone_on_from_by_two(two, shard):
    assert_same_losses(two[0], two[0] / f"alone-then-{shard}" / "metrics.jsonl")


def assert_same_losses(folder: Path, metrics: Path) -> None:
    losses = [[line["loss"] for line in read_metrics(path, "train")] for path in (folder / "alone" / "metrics.jsonl", metrics)]
    assert len(losses[0]) == STEPS
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


@pytest.mark.parametrize("shard", ["full", "none"])
def test_two_processes_go_on_to_the_last_bit(two, shard):
    """With dropout, so that the random numbers of both have to be put back."""
    whole, again = two[0] / f"dropout-{shard}", two[0] / f"again-{shard}"
    assert weights_of(again / "model") == weights_of(whole / "model")
    assert measured(again / "metrics.jsonl") == measured(whole / "metrics.jsonl")


def test_another_global_batch_is_refused(two, tmp_path):
    cut(two[0] / "full", tmp_path / "copy", 2)
    other = chosen(two[0], "full", 2).model_copy(update={"output_dir": str(tmp_path / "copy")})
    with pytest.raises(ConfigError, match="gradient_accumulation_steps x processes was 2, is 1"):
        train(other, progress=False, resume=True)


def test_an_error_in_one_process_ends_both_and_is_said_once(two):
    """The other one waits for it in the middle of a step: it ends too, with the same status, and adds nothing."""
    folder = two[0]
    (first_status, first_said), (second_status, second_said) = (json.loads((folder / f"{rank}.end.json").read_text()) for rank in (0, 1))
    assert (first_status, second_status) == (1, 1)
    assert "error" not in first_said
    assert second_said.startswith("error: ")
    assert "no idea" in second_said
    last = read_metrics(folder / "fail" / "metrics.jsonl")[-1]
    assert last["event"] == "failed"
    assert "no idea" in last["error"]
    assert not (folder / "fail" / "model").exists()
