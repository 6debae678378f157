"""Plugins and trackers are told what a run does; one that fails stops nothing."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from maskkit import hookspecs, plugins
from maskkit.config import TrainingConfig
from maskkit.engine import train
from maskkit.engine.metrics import read_metrics
from maskkit.engine.trackers import TRACKERS, flat, run_id, scalars, tracker
from maskkit.engine.tracking import Tracking
from maskkit.errors import MissingExtraError, TrainingError, UnknownNameError
from maskkit.hookspecs import RunInfo, hookimpl
from tests.engine.runs import config, measured, weights_of, write_rows


@pytest.fixture
def info(tmp_path: Path) -> RunInfo:
    return RunInfo("first", tmp_path, {"model": "tiny", "training": {"max_steps": 2}}, {"date": "2026-01-01T00:00:00"})


class Listener:
    """Notes everything that it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    @hookimpl
    def maskkit_run_started(self, run):
        self.heard.append(("started", run.name, run.step))

    @hookimpl
    def maskkit_step_finished(self, step, metrics):
        self.heard.append(("step", step, metrics["loss"]))

    @hookimpl
    def maskkit_evaluated(self, step, metrics):
        self.heard.append(("evaluated", step, metrics["kinds"]))

    @hookimpl
    def maskkit_checkpoint_saved(self, step, path):
        self.heard.append(("saved", step, path.name))

    @hookimpl
    def maskkit_run_finished(self, status, metrics):
        self.heard.append(("finished", status, metrics["step"]))


class Broken:
    """Fails at the first step."""

    calls = 0

    @hookimpl
    def maskkit_step_finished(self):
        self.calls += 1
        raise RuntimeError("no\nnetwork")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Registers plugins as if they were installed."""
    registry = plugins.registry()
    registered = []

    def install(plugin: Any) -> None:
        registry.manager.register(plugin)
        registered.append(plugin)

    yield install
    for plugin in registered:
        registry.manager.unregister(plugin)


def a_run(tracking: Tracking) -> None:
    tracking.started(2)
    tracking.event("start", 0, {})
    for step in (3, 4):
        tracking.event("train", step, {"loss": 1 / step})
    tracking.event("eval", 4, {"loss": 0.5, "kinds": {"answer": 0.5}})
    tracking.checkpoint_saved(4, Path("checkpoints/step-4"))
    tracking.event("end", 4, {"last_loss": 0.25})


def test_a_plugin_hears_what_a_run_does(info, installed):
    listener = Listener()
    installed(listener)
    a_run(Tracking(info))
    assert listener.heard == [
        ("started", "first", 2),
        ("step", 3, 1 / 3),
        ("step", 4, 0.25),
        ("evaluated", 4, {"answer": 0.5}),
        ("saved", 4, "step-4"),
        ("finished", "end", 4),
    ]


def test_one_that_fails_is_named_once_and_the_others_hear_everything(info, installed):
    said: list[str] = []
    broken, listener = Broken(), Listener()
    installed(broken)
    installed(listener)
    a_run(Tracking(info, say=said.append))
    assert broken.calls == 1
    assert len(listener.heard) == 6
    assert len(said) == 1
    assert said[0].endswith("failed in maskkit_step_finished and is not called again: RuntimeError: no network")


def test_every_hook_but_the_one_for_strategies_is_told(info):
    hooks = {name for name, hook in vars(hookspecs).items() if hasattr(hook, "maskkit_spec")}
    assert hooks - {name for name in vars(Listener) if name.startswith("maskkit_")} == {"maskkit_strategies"}


def test_tensorboard_reads_what_was_written(info):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    a_run(Tracking(info, ["tensorboard"]))
    events = EventAccumulator(str(info.output_dir / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 6)) for event in events.Scalars("train/loss")] == [(3, 0.333333), (4, 0.25)]
    assert [event.value for event in events.Scalars("eval/loss/answer")] == [0.5]
    assert "max_steps" in str(events.Tensors("config/text_summary")[0])


def test_an_unknown_tracker_is_told():
    with pytest.raises(UnknownNameError, match="Did you mean 'wandb'"):
        tracker("wanddb")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_names_its_extra(name, monkeypatch: pytest.MonkeyPatch):
    package = {"tensorboard": "torch.utils.tensorboard"}.get(name, name)
    real = builtins.__import__

    def refusing(wanted: str, *args: Any, **more: Any) -> Any:
        if wanted == package:
            raise ImportError(f"No module named {wanted!r}", name=wanted)
        return real(wanted, *args, **more)

    monkeypatch.setattr(builtins, "__import__", refusing)
    monkeypatch.delitem(__import__("sys").modules, f"maskkit.engine.trackers.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"report_to '{name}' needs the package .*pip install 'maskkit\[{name}\]'"):
        tracker(name)


def test_numbers_and_configs_become_flat():
    metrics = {"loss": 1, "kinds": {"answer": 0.5}, "tokens": {"answer": 3}, "rows": "a", "exact": True}
    assert scalars(metrics, "eval") == {"eval/loss": 1.0, "eval/loss/answer": 0.5, "eval/tokens/answer": 3.0}
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_a_run_that_goes_on_is_the_same_run(info):
    again = RunInfo("renamed", info.output_dir, {}, info.record, step=5)
    assert run_id(again) == run_id(info)
    assert run_id(RunInfo("first", info.output_dir, {}, {"date": "2026-01-02T00:00:00"})) != run_id(info)


SHORT = {"max_steps": 2, "gradient_accumulation_steps": 1, "warmup_steps": 0, "save_steps": 1}


def a_short_config(tmp_path: Path, name: str = "run", **training: Any) -> Any:
    if not (tmp_path / "rows.jsonl").exists():
        write_rows(tmp_path / "rows.jsonl", 8)
    return config(tmp_path, name, answers={"count": 0}, training={**SHORT, **training})


def test_a_real_run_tells_everything_in_order(tmp_path, installed):
    listener = Listener()
    installed(listener)
    run = a_short_config(tmp_path)
    result = train(run, progress=False)
    assert [event[:2] for event in listener.heard] == [
        ("started", "run"),
        ("evaluated", 0),
        ("step", 1),
        ("saved", 1),
        ("step", 2),
        ("evaluated", 2),
        ("saved", 2),
        ("finished", "end"),
    ]
    assert listener.heard[2][2] == result.first_loss
    listener.heard.clear()
    train(a_short_config(tmp_path, max_steps=3, run_name="again"), progress=False, resume=True)
    assert listener.heard[0] == ("started", "again", 2)
    assert listener.heard[1][:2] == ("step", 3)


def test_a_run_with_a_tracker_that_fails_is_the_run_without(tmp_path, installed, caplog):
    alone = train(a_short_config(tmp_path, "alone"), progress=False)
    broken = Broken()
    installed(broken)
    told = train(a_short_config(tmp_path, "told"), progress=False)
    assert broken.calls == 1
    assert "is not called again: RuntimeError: no network" in caplog.text
    assert measured(told.metrics_path) == measured(alone.metrics_path)
    assert weights_of(told.model_dir) == weights_of(alone.model_dir)


def test_a_run_that_fails_says_so(tmp_path, installed):
    listener = Listener()
    installed(listener)
    with pytest.raises(TrainingError, match="expected a finite number"):
        train(a_short_config(tmp_path, learning_rate=1e30, max_grad_norm=None, max_steps=6), progress=False)
    assert listener.heard[-1][:2] == ("finished", "failed")


def test_tensorboard_has_the_losses_of_a_real_run_and_goes_with_it(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = a_short_config(tmp_path, report_to=["tensorboard"])
    result = train(run, progress=False)
    folder = result.output_dir / "tensorboard"
    events = EventAccumulator(str(folder))
    events.Reload()
    losses = [line["loss"] for line in read_metrics(result.metrics_path, "train")]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses, rel=1e-6)
    before = set(folder.iterdir())
    train(run.model_copy(update={"overwrite_output_dir": True}), progress=False)
    assert not before & set(folder.iterdir())


def test_a_missing_tracker_ends_the_run_before_anything_is_read(tmp_path, monkeypatch):
    def missing(name: str) -> Any:
        raise MissingExtraError(name, name, "training.report_to")

    monkeypatch.setattr("maskkit.engine.trackers.tracker", missing)
    run = a_short_config(tmp_path, report_to=["wandb"])
    Path(run.data.train).unlink()
    with pytest.raises(MissingExtraError, match="wandb"):
        train(run, progress=False)
    assert not (tmp_path / "run").exists()


def test_the_config_knows_every_tracker():
    schema = TrainingConfig.model_json_schema()["properties"]["report_to"]
    assert tuple(schema["items"]["enum"]) == TRACKERS
