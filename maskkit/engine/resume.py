"""May this config go on with that checkpoint? What the run is made of has to be the same; how it goes on may differ."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskkit.engine.checkpoints import Checkpoint
from maskkit.engine.distributed import Ranks
from maskkit.engine.finished import Finished, finished_run, nothing_left
from maskkit.engine.result import TrainResult
from maskkit.engine.run_folder import RunFolder
from maskkit.engine.state import RECORD
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from maskkit.config import RunConfig

logger = logging.getLogger(__name__)

FIXED_IN_TRAINING = (
    *("seed", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("packing", "batch_tokens", "group_by_length", "on_empty_batch"),
    *("optim", "dtype"),
)
"""Keys of ``training`` that say which rows a step sees, and what a checkpoint holds.

Of the other sections all keys are fixed that are not named here as free."""

ACCUMULATION = "training.gradient_accumulation_steps"

FREE_SECTIONS = ("answers", "lint", "plugins", "trust_remote_code")
"""They may change, with a warning."""

UNNOTICED = (*("output_dir", "overwrite_output_dir", "data.workers", "training.report_to", "training.run_name", "lora.merge"),)
"""Where and in which form a run is saved, who is told of it and how many processes read its data, is no part of what it is."""


class Origin:
    """The checkpoint that a run goes on from, and what the run began with."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.record: dict[str, Any] = json.loads((checkpoint.path / RECORD).read_text(encoding="utf-8"))
        self.over: TrainResult | None = None
        """Where the run is over and no step is left to do, what it handed back."""

    @property
    def ranks(self) -> int:
        """How many processes did the run."""
        return int(self.record.get("ranks", 1))

    @property
    def date(self) -> datetime:
        """What chat templates printed when the run began, and will again."""
        return datetime.fromisoformat(self.record["date"])

    def resumed(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """When this run was resumed, this time included, for the record. What numbers depend on and has changed is a warning.

        record: that of the run as it is now. Raises ConfigError if its files, rows, tokens, weights or frozen parameters are not those of
        the checkpoint, although the configs agree.
        """
        self._check_names([file["path"] for file in record["files"]])
        for part, key in (("train", "data.train"), ("held_out", "data.eval")):
            for what, meaning in DIGESTS.items():
                if record[part][what] != self.record[part][what]:
                    raise ConfigError(
                        f"cannot resume from {self.checkpoint.path}: {key}: {meaning} "
                        f"({self.record[part]['count']} rows then, {record[part]['count']} now); {UNDO}"
                    )
        if record.get("base_model") != self.record.get("base_model"):
            raise ConfigError(
                f"cannot resume from {self.checkpoint.path}: the model that its adapters are of ({record['config']['model']!r}) has other "
                f"parameters than it had then; {UNDO}"
            )
        if record["config"]["data"]["streaming"]:  # its rows are not all read beforehand
            self._check_files(record["files"])
        before = self.record.get("strategies", record["strategies"])
        for name, (then, now) in differences(before, record["strategies"]).items():
            logger.warning("the checkpoint was made with strategy %s of %s, this is %s: the weights are the same so far", name, then, now)
        made_with = {"versions": record["versions"], "strategies": record["strategies"]}
        for what, (then, now) in differences(_circumstances(self.record), _circumstances(record)).items():
            logger.warning("the checkpoint was made with %s %s, this is %s: results may differ in the last digits", what, then, now)
        this = {"step": self.checkpoint.step, "date": datetime.now().isoformat(), **made_with}
        return [*self.record.get("resumed", []), this]

    def _check_names(self, names: Sequence[str]) -> None:
        """Raises ConfigError if a folder or pattern of the config stands for other files than it did."""
        before = [file["path"] for file in self.record["files"]]
        changes = [f"{name} is new" for name in names if name not in before] + [f"{name} is gone" for name in before if name not in names]
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise ConfigError(
                f"cannot resume from {self.checkpoint.path}: data.train and data.eval stand for {len(names)} files now and {len(before)} "
                f"then: {', '.join(changes[:3])}{more}; {UNDO}"
            )

    def _check_files(self, files: Sequence[Mapping[str, Any]]) -> None:
        """Raises ConfigError if a file is not what it was, byte for byte: places in it would mean other rows."""
        before = {file["path"]: file for file in self.record["files"]}
        for file in files:
            then = before.get(file["path"], file)
            if then != file:
                raise ConfigError(
                    f"cannot resume from {self.checkpoint.path}: {file['path']}: the file has changed since the checkpoint "
                    f"({then.get('bytes')} bytes then, {file.get('bytes')} now), and streamed rows are found by their place in it; {UNDO}"
                )


DIGESTS = {
    "rows": "the rows have changed since the checkpoint",
    "tokens": "the rows are the same, but not their tokens: the tokenizer, its template or a library has changed since the checkpoint",
    "weights": "rows and tokens are the same, but the strategy weighs them differently: its code has changed since the checkpoint",
}
UNDO = "undo the change, or start a new run in another output_dir"


def origin_of(config: RunConfig, folder: RunFolder, ranks: Ranks) -> Origin:
    """The newest good checkpoint of a run, if ``config`` may go on with it. The number of processes may be another, as long as a step has
    as many micro-batches, all processes together.

    Raises ConfigError where there is none, or it was made with another config where that matters, naming the keys, or the run has done more
    steps than are asked for; other differences are warnings, and the config's values are used.
    """
    origin = Origin(folder.checkpoints.newest())
    made_with = type(config).from_mapping(origin.record["config"], str(origin.checkpoint.path / RECORD))  # keys that are new get defaults
    refused: list[str] = []
    noted: list[str] = []
    before, after = (flat(each.model_dump(mode="json")) for each in (made_with, config))
    if origin.ranks != ranks.size:
        before[f"{ACCUMULATION} x processes"] = before.pop(ACCUMULATION) * origin.ranks
        after[f"{ACCUMULATION} x processes"] = after.pop(ACCUMULATION) * ranks.size
    for key, (then, now) in differences(before, after).items():
        if key not in UNNOTICED:
            (refused if is_fixed(key) else noted).append(f"{key} was {then}, is {now}")
    if refused:
        raise ConfigError(f"cannot resume from {origin.checkpoint.path}: it was made with another config: {'; '.join(refused)}; {UNDO}")
    finished = finished_run(folder)
    _check_steps(config.training.max_steps, origin.checkpoint, finished)
    if finished and nothing_left(finished, config, made_with):
        origin.over = finished.result()
        return origin
    for difference in noted:
        logger.warning("resumed with another config than the checkpoint was made with: %s", difference)
    if finished and finished.step > origin.checkpoint.step:
        logger.warning(
            "the run has come to its end at step %d, and its newest good checkpoint is of step %d: what came after that is trained anew, "
            "and model/ is replaced at the end",
            finished.step,
            origin.checkpoint.step,
        )
    return origin


def _check_steps(max_steps: int, checkpoint: Checkpoint, finished: Finished | None) -> None:
    """Raises ConfigError if fewer steps are asked for than are done: nothing is ever trained back."""
    over = finished is not None and finished.step > checkpoint.step
    done, what = (finished.step, "the run that is finished there") if finished and over else (checkpoint.step, "the checkpoint")
    if max_steps < done:
        raise ConfigError(
            f"cannot resume from {checkpoint.path}: training.max_steps is {max_steps}, and {what} has done {done} steps: set it to {done} "
            "or more, or start a new run in another output_dir"
        )


def _circumstances(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the last digits of a number depend on."""
    return {**record["versions"], "threads": record["threads"], "processes": record.get("ranks", 1)}


def is_fixed(key: str) -> bool:
    """Whether a key, such as ``training.seed``, says what the run is."""
    section, _, rest = key.partition(".")
    if section == "training":
        return rest.removesuffix(" x processes") in FIXED_IN_TRAINING
    return section not in FREE_SECTIONS


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Of keys whose values differ, both values; ``absent`` where there is none."""
    keys = [*then, *(key for key in now if key not in then)]
    shown = {key: (_shown(then, key), _shown(now, key)) for key in keys}
    return {key: pair for key, pair in shown.items() if pair[0] != pair[1]}


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{a: {b: 1}}`` as ``{a.b: 1}``, two levels deep: deeper values, such as a strategy's options, are compared whole."""
    out: dict[str, Any] = {}
    for section, value in values.items():
        whole = not isinstance(value, Mapping) or section in ("strategy", "chat_template_kwargs")
        out |= {section: value} if whole else {f"{section}.{key}": inner for key, inner in value.items()}
    return out


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False, sort_keys=True) if key in values else "absent"
