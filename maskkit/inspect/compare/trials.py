"""Train under each strategy with the same rows, order and seeds."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from maskkit.config import RunConfig
from maskkit.engine import train
from maskkit.engine.durable import write_text
from maskkit.engine.metrics import read_metrics
from maskkit.engine.run_record import file_records
from maskkit.errors import ConfigError
from maskkit.inspect.compare.comparison import INDEX, Comparison, read_comparison
from maskkit.plugins import load_strategy


def compare(
    config: RunConfig,
    strategies: Sequence[Any],
    output: str | Path,
    *,
    seeds: int = 1,
    progress: bool = True,
    say: Callable[[str], None] = lambda message: None,
) -> Comparison:
    """Run ``config`` under each strategy and each of ``seeds`` seeds, counted up from the config's, and set the runs side by side.

    strategies: selections, as configs write them. Within one seed all runs begin with the same model and see the same rows in the same
    order; rows are held out by their hash, so the same ones everywhere. Runs are folders in ``output``; one that came to its end under the
    same config, with the same files of rows, is not run again. say: told which run begins.

    Raises ConfigError for fewer than two strategies, two that are equal, or a config without held-out rows; what `train` raises.
    """
    _check(config, strategies)
    output, labels = Path(output), _labels(strategies)
    output.mkdir(parents=True, exist_ok=True)
    runs = {label: [f"runs/{label}/seed-{seed}" for seed in _seeds(config, seeds)] for label in labels}
    trials = list(_trials(config, strategies, labels, seeds, output))
    files = file_records(config.data)
    for number, (label, trial) in enumerate(trials, 1):
        if _is_done(trial, files):
            continue
        say(f"run {number} of {len(trials)}: {label}, seed {trial.training.seed}")
        train(trial, progress=progress)
    sides = [{"label": label, "strategy": spec, "runs": runs[label]} for label, spec in zip(labels, strategies, strict=True)]
    write_text(output / INDEX, json.dumps({"sides": sides}, indent=1, ensure_ascii=False) + "\n")
    return read_comparison(output)


def _check(config: RunConfig, strategies: Sequence[Any]) -> None:
    if len(strategies) < 2:
        raise ConfigError("a comparison needs at least two strategies")
    specs = [json.dumps(load_strategy(strategy).spec(), sort_keys=True) for strategy in strategies]
    twice = next((spec for spec in specs if specs.count(spec) > 1), None)
    if twice:
        raise ConfigError(f"strategy {twice} is given twice: a comparison needs different ones")
    if not config.data.eval:
        raise ConfigError("data.eval holds no rows out, so there is nothing to compare strategies on")


def _labels(strategies: Sequence[Any]) -> list[str]:
    """A short name for each, which a folder can have."""
    labels: list[str] = []
    for strategy in strategies:
        label = re.sub(r"[^a-z0-9]+", "-", load_strategy(strategy).label.lower()).strip("-")[:40] or "strategy"
        number = sum(re.fullmatch(rf"{re.escape(label)}(-\d+)?", other) is not None for other in labels)
        labels.append(f"{label}-{number + 1}" if number else label)
    return labels


def _seeds(config: RunConfig, count: int) -> range:
    return range(config.training.seed, config.training.seed + count)


def _trials(
    config: RunConfig, strategies: Sequence[Any], labels: Sequence[str], seeds: int, output: Path
) -> Iterator[tuple[str, RunConfig]]:
    """Every run; seed by seed, so that what is there after a while can be compared already."""
    values = config.model_dump(mode="json")
    for seed in _seeds(config, seeds):
        training = {**values["training"], "seed": seed}
        for label, strategy in zip(labels, strategies, strict=True):
            own = {"strategy": strategy, "training": training, "output_dir": str(output / "runs" / label / f"seed-{seed}")}
            yield label, RunConfig.from_mapping({**values, **own, "overwrite_output_dir": True})


def _is_done(trial: RunConfig, files: list[dict[str, Any]]) -> bool:
    """Whether the run is there, under the same config and on files of the same content, and came to its end."""
    folder = Path(trial.output_dir)
    if not all((folder / name).is_file() for name in ("config.yaml", "run.json", "metrics.jsonl")):
        return False
    same = (folder / "config.yaml").read_text(encoding="utf-8") == trial.to_yaml()
    with contextlib.suppress(ValueError):  # a line that a kill has cut
        record: Any = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        same = same and isinstance(record, dict) and record.get("files") == files
        return same and bool(read_metrics(folder / "metrics.jsonl", "end"))
    return False
