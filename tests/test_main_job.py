"""The main job: a strategy by name, a run, and what each kind of token learned from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import maskkit
from maskkit import embedded

SELECTIONS = {
    "causal": "causal",
    "assistant-only": "assistant-only",
    "reasoning-only": "reasoning-only",
    "weighted": {"name": "weighted", "reasoning": 0.3, "answer": 1.0},
    "product": {"product": ["assistant-only", {"name": "weighted", "tool_call": 2.0}]},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, maskkit.engine.TrainResult]:
    """The bundled run, on some of its rows and shortened, under each selection."""
    folder = tmp_path_factory.mktemp("runs")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in embedded.quickstart_rows()[:700]), encoding="utf-8")
    shorter = [f"data.train={rows}", "training.max_steps=40", "training.per_device_train_batch_size=16", "training.eval_steps=0"]
    shorter += ["training.log_kinds_every=20", "answers={count: 2, max_new_tokens: 8}"]
    done = {}
    for name, spec in SELECTIONS.items():
        settings = [*shorter, f"strategy={json.dumps(spec)}", f"output_dir={folder / name}"]
        done[name] = maskkit.train(maskkit.RunConfig.load("quickstart", settings), progress=False)
    return done


def gained(result: maskkit.engine.TrainResult, kind: str) -> float:
    """How many nats the loss of a kind fell on held-out rows."""
    assert result.eval_before is not None
    return result.eval_before.kinds[kind] - result.kinds[kind]


@pytest.mark.parametrize("name", SELECTIONS)
def test_every_selection_trains(results, name: str):
    result = results[name]
    assert result.last_loss < 0.6 * result.first_loss
    assert result.eval_after.loss < result.eval_before.loss


def test_causal_learns_every_kind(results):
    for kind in ("user", "answer", "reasoning", "template", "stop"):
        assert gained(results["causal"], kind) > 1, kind


@pytest.mark.parametrize("name", ["assistant-only", "weighted", "product"])
def test_what_is_not_trained_does_not_improve_with_the_answer(results, name: str):
    result = results[name]
    for kind in ("reasoning", "answer", "stop"):
        assert gained(result, kind) > 1.5, kind
    for kind in ("user", "template"):
        assert gained(result, kind) < 0.5 * gained(result, "answer"), kind
        assert gained(result, kind) < gained(results["causal"], kind) - 1, kind


def test_reasoning_only_leaves_the_stop_token_behind(results):
    assert gained(results["reasoning-only"], "reasoning") > 2
    assert gained(results["reasoning-only"], "stop") < 0.5 * gained(results["assistant-only"], "stop")


def test_the_share_of_trained_tokens_is_the_strategys(results):
    share = {name: result.trained_share for name, result in results.items()}
    assert share["causal"] > 0.9
    assert share["reasoning-only"] < share["assistant-only"] < share["causal"]
    assert share["weighted"] == share["assistant-only"] == share["product"]


def test_the_saved_model_is_one_that_transformers_loads(results):
    folder = results["assistant-only"].model_dir
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2 + 3?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**prompt, max_new_tokens=4, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    assert written.shape[1] > prompt["input_ids"].shape[1]


def test_the_run_folder_says_what_was_run(results):
    folder = results["weighted"].output_dir
    config = maskkit.RunConfig.load(folder / "config.yaml")
    assert config.strategy == SELECTIONS["weighted"]
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "train" for event in events) == 40
    untrained = [event["kinds"]["user"] for event in events if event["event"] in ("kinds", "eval")]
    assert len(untrained) >= 3, "losses of untrained kinds are measured on the way"
    assert Path(folder / "curves.svg").read_text().startswith("<svg")
