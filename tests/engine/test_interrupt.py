"""Ctrl-C and SIGTERM: the step ends, the state is saved, and the run can go on."""

from __future__ import annotations

import signal
import threading

import pytest

from maskkit.engine import train
from maskkit.engine.interrupt import StopRequest
from maskkit.engine.metrics import read_metrics
from maskkit.errors import TrainingError, TrainingStopped
from tests.cli.commands import call
from tests.engine.runs import config, dropout_model, measured, weights_of

STRATEGY = """
import os
import signal

import maskkit


class Stopping(maskkit.Strategy):
    "Trains answers; when it is asked often enough, and a file says so, someone sends a signal."

    name = "stopping"
    asked = 0

    def weights(self, tokens):
        Stopping.asked += 1
        flag = {flag!r}
        if os.path.exists(flag) and Stopping.asked == {call}:
            os.remove(flag)
            signal.raise_signal({signal})
        return tokens.where(kind="answer")
"""

CALL = 24 + 6 + 3 * 8 + 2
"""24 rows are weighed at the start, about 6 held-out ones, then 8 in each step: this is within a step after the first."""


def stopping_config(tmp_path, number: signal.Signals, **training):
    (tmp_path / "flag").touch()
    strategy = tmp_path / "stopping.py"
    strategy.write_text(STRATEGY.format(flag=str(tmp_path / "flag"), call=CALL, signal=int(number)))
    chosen = {"max_steps": 6, "eval_steps": 2} | training
    return config(tmp_path, model=dropout_model(tmp_path / "model"), strategy=f"{strategy}:Stopping", training=chosen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("save_steps", [0, 4])
def test_a_signal_lets_the_step_end_and_the_run_go_on(tmp_path, number, save_steps):
    chosen = stopping_config(tmp_path, number, save_steps=save_steps)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(TrainingStopped) as stopped:
        train(chosen, progress=False)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    error, metrics = stopped.value, tmp_path / "run" / "metrics.jsonl"
    assert 1 <= error.step < 6
    assert (error.signal, error.checkpoint) == (number, tmp_path / "run" / "checkpoints" / f"step-{error.step}")
    assert str(error).endswith(f"go on with  maskkit train {tmp_path / 'run' / 'config.yaml'} --resume")
    assert [line["step"] for line in read_metrics(metrics, "train")] == list(range(1, error.step + 1))
    assert read_metrics(metrics)[-1]["event"] == "stopped"
    assert not (tmp_path / "run" / "model").exists()

    resumed = train(chosen, progress=False, resume=True)
    whole = train(chosen.model_copy(update={"output_dir": str(tmp_path / "whole")}), progress=False)
    assert weights_of(resumed.model_dir) == weights_of(whole.model_dir)
    assert measured(resumed.metrics_path) == measured(whole.metrics_path)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_says_how_to_go_on_and_its_status_names_the_signal(tmp_path, capsys, number, status):
    chosen = stopping_config(tmp_path, number)
    (tmp_path / "run.yaml").write_text(chosen.to_yaml())
    done = call(capsys, "train", str(tmp_path / "run.yaml"))
    assert done.status == status
    last = done.err.splitlines()[-1]
    assert last.startswith(f"error: stopped by {number.name} after step ")
    command = last.partition("go on with ")[2].split()
    assert command[0] == "maskkit"
    done = call(capsys, *command[1:])
    assert done.status == 0, done.err
    assert "trained 6 steps" in done.out


def test_a_second_signal_stops_at_once():
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.signal is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_another_thread_trains_without_listening(tmp_path):
    """Python allows signal handlers in the main thread only."""
    results = []
    short = config(tmp_path, training={"max_steps": 1}, answers={"count": 0})
    thread = threading.Thread(target=lambda: results.append(train(short, progress=False)))
    thread.start()
    thread.join()
    assert results[0].steps == 1


def test_a_stopped_run_is_a_training_error_to_those_who_do_not_care():
    assert issubclass(TrainingStopped, TrainingError)
