"""The same run under several strategies, read back, judged and shown."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

import maskkit
from maskkit import embedded
from maskkit.engine.metrics import read_metrics
from maskkit.errors import ConfigError, DataError
from maskkit.inspect.compare import Comparison, compare, read_comparison
from maskkit.inspect.compare.spread import Spread, difference
from maskkit.inspect.page.compare import compare_page
from tests.cli.commands import call, refused
from tests.inspect.pages import HOSTILE

ROWS = [row for row, _ in zip(embedded.quickstart_rows(), range(60), strict=False)]
CONFIG = {
    "model": "tiny",
    "data": {"train": "rows.jsonl", "eval": 0.1},
    "max_length": 128,
    "training": {"max_steps": 3, "per_device_train_batch_size": 2, "eval_steps": 2, "log_kinds_every": 0, "learning_rate": 1e-3},
    "answers": {"count": 2, "max_new_tokens": 4},
    "lint": "off",
    "output_dir": "unused",
}
STRATEGIES = ["assistant-only", {"name": "weighted", "reasoning": 0.3}]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> maskkit.RunConfig:
    rows = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return maskkit.RunConfig.from_mapping({**CONFIG, "data": {"train": str(rows), "eval": 0.1}})


@pytest.fixture(scope="module")
def found(config: maskkit.RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(config, STRATEGIES, tmp_path_factory.mktemp("compare"), seeds=2, progress=False)


def test_every_strategy_has_every_seed(found: Comparison):
    assert [side.label for side in found.sides] == ["assistant-only", "weighted"]
    assert found.seeds == [0, 1]
    for side in found.sides:
        for run in side.runs:
            assert set(run.curves) >= {"answer", "reasoning", "user"}
            assert [step for step, _ in run.curves["answer"]] == [0, 2, 3]
            assert run.trained_kinds >= {"answer", "reasoning", "stop"}
            assert len(run.replies) == 2
            last = read_metrics(found.folder / "runs" / side.label / f"seed-{run.seed}" / "metrics.jsonl", "eval")[-1]
            assert run.stop_accuracy == last["accuracies"]["stop"]
            assert 0 < run.trained_share < 1


def test_runs_of_a_seed_begin_alike_and_see_the_same_rows(found: Comparison):
    for one, other in zip(found.sides[0].runs, found.sides[1].runs, strict=True):
        assert {kind: curve[0] for kind, curve in one.curves.items()} == {kind: curve[0] for kind, curve in other.curves.items()}
        assert one.tokens == other.tokens
        assert one.losses != other.losses


def test_what_is_done_is_not_done_again(config: maskkit.RunConfig, found: Comparison):
    said: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in found.folder.rglob("metrics.jsonl")}
    victim = found.folder / "runs/weighted/seed-1/metrics.jsonl"
    victim.write_text("".join(line for line in victim.read_text().splitlines(keepends=True) if '"end"' not in line))
    again = compare(config, STRATEGIES, found.folder, seeds=2, progress=False, say=said.append)
    assert said == ["run 4 of 4: weighted, seed 1"]
    assert all(path.stat().st_mtime_ns == moment for path, moment in before.items() if path != victim)
    assert [run.losses for run in again.sides[1].runs] == [run.losses for run in found.sides[1].runs]


def test_the_numbers_are_those_of_the_runs(found: Comparison):
    numbers = found.to_json()
    assert json.loads(json.dumps(numbers)) == numbers
    last = read_metrics(found.folder / "runs/weighted/seed-1/metrics.jsonl", "eval")[-1]
    measured = numbers["strategies"][1]["measures"]["loss of answer"]
    assert measured["values"][1] == last["kinds"]["answer"]
    assert measured["mean"] == pytest.approx(sum(measured["values"]) / 2)
    pairs = [d for d in numbers["differences"] if d["measure"] == "loss of answer"]
    other = numbers["strategies"][0]["measures"]["loss of answer"]["values"]
    assert pairs[0]["values"] == pytest.approx([a - b for a, b in zip(other, measured["values"], strict=True)])


def test_the_page_shows_strategies_curves_and_replies(found: Comparison):
    page = compare_page(found, "model: tiny\n")
    for text in ("assistant-only", "{name: weighted, reasoning: 0.3}", "steps per reply", "loss of answer", "right answer:", "model: tiny"):
        assert text in page
    assert page.count("<svg") == len(found.kinds())


def test_hostile_replies_do_nothing(found: Comparison, tmp_path: Path):
    for run in found.folder.rglob("samples.jsonl"):
        lines = [json.loads(line) for line in run.read_text().splitlines()]
        (tmp_path / run.relative_to(found.folder)).parent.mkdir(parents=True)
        hostile = [{**line, "completion": HOSTILE, "answer": HOSTILE, "prompt": HOSTILE, "reference": HOSTILE} for line in lines]
        (tmp_path / run.relative_to(found.folder)).write_text("".join(json.dumps(line) + "\n" for line in hostile))
        for name in ("metrics.jsonl", "run.json"):
            (tmp_path / run.relative_to(found.folder)).with_name(name).write_text(run.with_name(name).read_text())
    (tmp_path / "comparison.json").write_text((found.folder / "comparison.json").read_text())
    page = compare_page(read_comparison(tmp_path))
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page


@pytest.mark.parametrize(
    ("strategies", "says"),
    [(["causal"], "at least two strategies"), (["causal", {"name": "causal"}], "is given twice")],
)
def test_what_cannot_be_compared(config: maskkit.RunConfig, tmp_path: Path, strategies: list, says: str):
    with pytest.raises(ConfigError, match=says):
        compare(config, strategies, tmp_path / "out")
    nothing = maskkit.RunConfig.from_mapping({**CONFIG, "data": {"train": "rows.jsonl", "eval": None}, "answers": {}})
    with pytest.raises(ConfigError, match="holds no rows out"):
        compare(nothing, STRATEGIES, tmp_path / "out")
    with pytest.raises(DataError, match="holds no comparison"):
        read_comparison(tmp_path)


def copy_of(comparison: Path, to: Path) -> Path:
    """The files of a comparison that are read, without models and checkpoints."""
    for name in ("comparison.json", "config.yaml", "metrics.jsonl", "run.json", "samples.jsonl"):
        for file in comparison.rglob(name):
            (to / file.relative_to(comparison)).parent.mkdir(parents=True, exist_ok=True)
            (to / file.relative_to(comparison)).write_text(file.read_text())
    return to


@pytest.mark.parametrize(
    ("file", "content", "cure"),
    [
        ("comparison.json", '{"sides": [', "run maskkit compare again, which keeps the runs that are done"),
        ("comparison.json", '{"sides": [{"label": "causal"}]}', "run maskkit compare again"),
        ("comparison.json", "[1]", "run maskkit compare again"),
        ("runs/weighted/seed-1/run.json", "{}", "remove the folder and run maskkit compare again"),
        ("runs/weighted/seed-1/samples.jsonl", '{"a": 1}\n', "remove the folder and run maskkit compare again"),
        ("runs/weighted/seed-1/metrics.jsonl", '{"event": "end', "remove the folder and run maskkit compare again"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_what_to_do(found: Comparison, tmp_path: Path, file: str, content: str, cure: str):
    copy = copy_of(found.folder, tmp_path / "copy")
    (copy / file).write_text(content)
    with pytest.raises(DataError) as error:
        read_comparison(copy)
    damaged = copy / file if file == "comparison.json" else (copy / file).parent
    assert str(error.value).startswith(f"{damaged} is damaged, it is not what maskkit compare writes (")
    assert cure in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(found: Comparison, tmp_path: Path):
    copy = copy_of(found.folder, tmp_path / "copy")
    (copy / "runs/weighted/seed-0/metrics.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no comparison: there is no runs/weighted/seed-0/metrics.jsonl in it"):
        read_comparison(copy)


def test_a_run_whose_metrics_were_cut_within_a_line_is_not_done(found: Comparison, config: maskkit.RunConfig):
    from maskkit.engine.run_record import file_records
    from maskkit.inspect.compare.trials import _is_done

    files = file_records(config.data)
    trial = maskkit.RunConfig.load(found.folder / "runs/weighted/seed-1/config.yaml")
    assert _is_done(trial, files)
    metrics = found.folder / "runs/weighted/seed-1/metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole[:-5])
    try:
        assert not _is_done(trial, files)
    finally:
        metrics.write_text(whole)


def test_a_run_on_a_file_that_has_changed_is_not_done(found: Comparison, config: maskkit.RunConfig):
    rows = Path(str(config.data.train))
    before, said = rows.read_bytes(), list[str]()

    class Begun(Exception):
        pass

    def begun(message: str) -> None:
        said.append(message)
        raise Begun

    rows.write_bytes(before + before.splitlines(keepends=True)[0])
    try:
        with pytest.raises(Begun):
            compare(config, STRATEGIES, found.folder, seeds=2, progress=False, say=begun)
    finally:
        rows.write_bytes(before)
    assert said[0].startswith("run 1 of 4")
    assert compare(config, STRATEGIES, found.folder, seeds=2, progress=False, say=begun).sides


def test_strategies_of_one_name_are_told_apart(found: Comparison):
    from maskkit.inspect.compare.trials import _labels

    several = [{"name": "weighted", "reasoning": 0.3}, {"name": "weighted", "reasoning": 0.5}, {"product": ["causal", "weighted"]}]
    labels = _labels(several)
    assert labels[:2] == ["weighted", "weighted-2"]
    assert len(set(labels)) == 3
    assert all(re.fullmatch(r"[a-z0-9-]+", label) for label in labels)


def test_spread_and_difference_are_the_textbook_ones():
    assert Spread((1.0, 2.0, 3.0)).mean == 2
    assert Spread((1.0, 2.0, 3.0)).deviation == 1
    assert Spread((1.0, 2.0, 3.0)).margin == pytest.approx(4.303 / math.sqrt(3))
    assert Spread((1.0,)).margin is None
    assert difference([3.0, 4.1, 5.0], [1.0, 2.0, 3.0]).clear is True
    assert difference([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]).clear is False
    assert difference([1.0], [2.0]).clear is None


def test_the_command(capsys: pytest.CaptureFixture[str], config: maskkit.RunConfig, found: Comparison, tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    chosen = ["--strategies", "assistant-only", "--strategy", "{name: weighted, reasoning: 0.3}", "--seeds", "2", "-o", str(found.folder)]
    done = call(capsys, "compare", str(file), *chosen)
    assert done.status == 0, done.err
    assert re.search(r"^measure +assistant-only +weighted", done.out, re.M)
    assert (found.folder / "comparison.html").is_file()
    assert "at least two" in refused(capsys, "compare", str(file), "--strategies", "causal", "-o", str(tmp_path))
