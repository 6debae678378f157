"""What two processes compute together, for `test_two_ranks` to compare: both are started once for all cases, since starting them is dear.

    python -m tests.engine.two_ranks FOLDER     with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set

Process N leaves its results in FOLDER/N.json. Configs to be run are FOLDER/run-*.yaml, then FOLDER/resume-*.yaml and FOLDER/again-*.yaml,
which go on with what these have left; each has its own output_dir. Last, the command runs FOLDER/fail.yaml, whose strategy fails in
process 1; its status and what it said go to FOLDER/N.end.json.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from maskkit import Masker, embedded
from maskkit.batching import DataCollator
from maskkit.cli.main import run as command
from maskkit.config import RunConfig
from maskkit.engine import train
from maskkit.engine.answers import greedy_answers, question_of, stop_ids
from maskkit.engine.batches import Batcher
from maskkit.engine.distributed import Ranks, joined_ranks
from maskkit.engine.evaluate import evaluate
from maskkit.engine.loop import training_loop
from maskkit.engine.plan import Plan
from maskkit.engine.predict import Predictor
from maskkit.engine.randomness import seed_everything
from maskkit.engine.rows import StoredRows
from maskkit.engine.sharding import Sharding, whole
from maskkit.engine.shards import Shards, write_shards
from maskkit.engine.state import model_tensors
from maskkit.errors import TrainingError
from maskkit.loss import NORMALIZE_BY, Normalizer
from maskkit.models import recompute_layers
from tests.engine.small import small_run
from tests.engine.test_evaluate import ROWS, STRATEGY
from tests.engine.test_reweighting import CASES as MODIFIED
from tests.engine.test_reweighting import COLUMNS, modified_run
from tests.engine.test_reweighting import ROWS as MODIFIED_ROWS
from tests.reference import NORMALIZATIONS, ragged_rows, reference_step, tiny_llama

SPLITS: dict[str, list[Plan]] = {
    "4+4": [[[0], [2], [4], [6]], [[1], [3], [5], [7]]],
    "5+3": [[[0], [1], [2], [3], [4]], [[5], [6], [7]]],
    "8+0": [[[0], [1], [2], [3], [4], [5], [6], [7]], []],
    "3+2 and 3+0": [[[0], [1], [2]], [[3], [4], [5]], [[6], [7]], []],
}
"""Micro-batches of 8 rows, those of process 0 and process 1 in turn."""

PACKED: list[Plan] = [[[0, 7], [1]], [[2]], [[3, 4, 5]], [], [], [[6]]]
"""The same 8 rows in packs: three micro-batches for each process, some of them empty."""

SHARDS = ("none", "gradients", "full")
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def gradients(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Loss and largest difference of any gradient to the reference's, for every case."""
    found = {}
    rows = ragged_rows(8)
    for normalization in NORMALIZATIONS:
        loss, expected = reference_step(tiny_llama(), rows, normalization)
        for name, plans in SPLITS.items():
            for shard in SHARDS:
                for dtype in DTYPES if shard != "gradients" and name != "3+2 and 3+0" else ["float64"]:
                    case = f"{normalization} {name} {shard} {dtype}"
                    model = tiny_llama().to(DTYPES[dtype])
                    before = {name: p.detach().clone() for name, p in model.named_parameters()}
                    options: dict[str, Any] = {"normalization": normalization, "ranks": ranks, "shard": shard, "plans": plans}
                    run = small_run(folder / case.replace(" ", "-"), rows, model=model, **options)
                    training_loop(run)
                    moved = {name: before[name] - whole(p.detach()) for name, p in model.named_parameters()}
                    found[case] = [run.losses[0] - loss, max(float((moved[n] - expected[n]).abs().max()) for n in expected)]
    return found


def recomputed(ranks: Ranks, folder: Path) -> list[float]:
    """As above, with layers computed twice."""
    rows, model = ragged_rows(8), tiny_llama()
    loss, expected = reference_step(model, rows, "weights")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    recompute_layers(model, "small")
    run = small_run(folder / "recomputed", rows, model=model, ranks=ranks, shard="full", plans=SPLITS["5+3"])
    training_loop(run)
    return [
        run.losses[0] - loss,
        max(float((before[n] - whole(p.detach()) - expected[n]).abs().max()) for n, p in model.named_parameters()),
    ]


def clipped(ranks: Ranks, folder: Path) -> dict[str, float]:
    """How far a step moves all parameters, if gradients have at most the norm 0.01."""
    moved = {}
    for shard in SHARDS:
        model = tiny_llama()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        run = small_run(folder / f"clip-{shard}", ragged_rows(8), model=model, ranks=ranks, shard=shard, plans=SPLITS["4+4"])
        run.max_grad_norm = 0.01
        training_loop(run)
        moved[shard] = float(torch.stack([(before[n] - whole(p.detach())).norm() for n, p in model.named_parameters()]).norm())
    return moved


def evaluations(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Three rows, one or two at a time: one process has more of them than the other."""
    found = {}
    tokenizer = embedded.tiny_tokenizer()
    masker = Masker(tokenizer, STRATEGY)
    rows = [masker(row) for row in ROWS]
    for shard in ("none", "full"):
        for size in (1, 2, 3):
            model = tiny_llama(vocab_size=len(tokenizer))
            predict = Predictor(model)
            predict.forward = Sharding(model, ranks, shard).forward_method(predict.forward)
            batcher = Batcher(DataCollator(tokenizer), Normalizer("sequences"), size, predict.device)
            measured = evaluate(predict, masker, batcher, rows, ranks)
            found[f"{shard} {size}"] = asdict(measured)
    return found


def answers(ranks: Ranks, folder: Path) -> dict[str, list[str]]:
    """Replies to three questions, two at a time, by a model that is spread or not."""
    found = {}
    tokenizer = embedded.tiny_tokenizer()
    rows = [Masker(tokenizer, "assistant-only")(row) for row in ROWS]
    questions = [question for row in rows if (question := question_of(row)) is not None]
    for shard in ("none", "full"):
        model = tiny_llama(vocab_size=len(tokenizer))
        predict = Predictor(model)
        sharding = Sharding(model, ranks, shard)
        replies = greedy_answers(
            predict, tokenizer, questions, stop_ids(StoredRows(rows).stop_ids, tokenizer), max_new_tokens=5, batch_size=2, sharding=sharding
        )
        found[shard] = [reply.completion for reply in replies]
    return found


def talk(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """What the processes tell each other."""
    own = torch.arange(3.0 * ranks.rank)[:, None] + 10
    gathered = ranks.gather(own)
    return {
        "gathered": gathered[:, 0].tolist(),
        "own": ranks.own(gathered, len(own))[:, 0].tolist(),
        "totals": ranks.totals(1, 2.5 * ranks.rank),
        "decided": ranks.decided({"rank": ranks.rank}),
        "collected": ranks.collect([ranks.rank]),
        "part": list(ranks.part("abcde")),
        "random": [seed_everything(ranks.rank), torch.rand(()).item()][1],
    }


def nothing(ranks: Ranks, folder: Path) -> str:
    """No row of any process trains anything: the error names those of all."""
    rows = ragged_rows(2)
    for row in rows:
        row.weights.zero_()
    try:
        training_loop(small_run(folder / "nothing", rows, ranks=ranks, plans=[[[0]], [[1]]]))
    except TrainingError as error:
        return str(error)
    return "no error"


def reweighted(ranks: Ranks, folder: Path) -> dict[str, list[float]]:
    """Differences of loss and gradients as above, under loss modifiers that look at the whole global batch or at a row."""
    found = {}
    for case, (modifiers, definition) in MODIFIED.items():
        for by in NORMALIZE_BY:
            how = {"reweight": definition, "normalize_by": by, "columns": COLUMNS}
            loss, expected = reference_step(tiny_llama(), MODIFIED_ROWS, "weights", **how)
            for split, shard in (("5+3", "full"), ("8+0", "none")):
                model, made, path = tiny_llama(), [modifier() for modifier in modifiers], folder / f"{case}-{by}-{split}"
                before = {name: p.detach().clone() for name, p in model.named_parameters()}
                run = modified_run(path, made, by=by, model=model, ranks=ranks, shard=shard, plans=SPLITS[split])
                training_loop(run)
                apart = [float((before[n] - whole(p.detach()) - expected[n]).abs().max()) for n, p in model.named_parameters()]
                found[path.name] = [run.losses[0] - loss, max(apart)]
    return found


def packed(ranks: Ranks, folder: Path) -> dict[str, list[float]]:
    """Differences of loss and gradients as above: packs, every normalization, weights of either sign, and loss modifiers of both scopes
    with either sum below the line."""
    found = {}
    cases = {"none": ([], [], ["base"]), **{name: (*MODIFIED[name], NORMALIZE_BY) for name in ("dft", "several")}}
    collator = DataCollator(embedded.tiny_tokenizer(), packing=True)
    for normalization in NORMALIZATIONS:
        for case, (modifiers, definition, ways) in cases.items():
            for by in ways:
                signed = case == "none" and normalization in ("absolute", "tokens")
                rows = ragged_rows(8, signed=True) if signed else MODIFIED_ROWS
                how = {"reweight": definition, "normalize_by": by, "columns": COLUMNS} if definition else {}
                loss, expected = reference_step(tiny_llama(), rows, normalization, **how)
                for shard in ("none", "full"):
                    model, path = tiny_llama(), folder / f"packed-{normalization}-{case}-{by}-{shard}"
                    before = {name: p.detach().clone() for name, p in model.named_parameters()}
                    options: dict[str, Any] = {"model": model, "ranks": ranks, "shard": shard, "plans": PACKED, "rows": rows}
                    made = [modifier() for modifier in modifiers]
                    run = modified_run(path, made, by=by, normalization=normalization, signed=signed, **options)
                    run.batcher = Batcher(collator, Normalizer(normalization), 2, run.predict.device)
                    training_loop(run)
                    apart = [float((before[n] - whole(p.detach()) - expected[n]).abs().max()) for n, p in model.named_parameters()]
                    found[path.name] = [run.losses[0] - loss, max(apart)]
    return found


class Scalars(torch.nn.Module):
    """Parameters of one number each, which only one of two processes can hold, and one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        for number, name in enumerate(("first", "second", "unused"), start=1):
            self.register_parameter(name, torch.nn.Parameter(torch.full((1,), float(number))))

    def forward(self) -> torch.Tensor:
        return self.first * self.second


def scalars(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """What is saved of them and read again, and which have gradients."""
    model = Scalars()
    sharding = Sharding(model, ranks, "full")
    shards = folder.parent / "scalars"
    write_shards(shards, model_tensors(model), {})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    tensors = model_tensors(model)
    Shards(shards).read_model(tensors)
    values = {name: float(whole(parameter.detach())) for name, parameter in model.named_parameters()}
    alike = Scalars()
    for _ in Sharding(alike, ranks, "none").each([None]):
        if ranks.first:
            alike().backward()
    gradients = {name: parameter.grad is not None for name, parameter in alike.named_parameters()}
    return {"names": sorted(tensors), "values": values, "gradients": gradients, "sharded": sharding.sharded}


def trainings(ranks: Ranks, folder: Path) -> dict[str, list[float]]:
    """First and last loss of every run."""
    found = {}
    for moment in ("run", "resume", "again"):
        for path in sorted(folder.parent.glob(f"{moment}-*.yaml")):
            config = RunConfig.load(path)
            if moment == "again" and ranks.first:
                cut(folder.parent / path.stem.removeprefix("again-"), Path(config.output_dir), 2)
            ranks.barrier()
            result = train(config, progress=False, resume=moment != "run")
            found[path.stem] = [result.first_loss, result.last_loss]
    return found


def cut(run: Path, copy: Path, step: int) -> None:
    """The run as it would be if its processes had died after that step."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "model")
    for later in (copy / "checkpoints").iterdir():
        if int(later.name.removeprefix("step-")) > step:
            shutil.rmtree(later)


CASES: dict[str, Callable[[Ranks, Path], Any]] = {
    case.__name__: case
    for case in (gradients, recomputed, clipped, evaluations, answers, talk, nothing, reweighted, packed, scalars, trainings)
}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["MASTER_PORT"], last = os.environ["MASTER_PORT"].split(",")
    with joined_ranks() as ranks:
        own = folder / str(ranks.rank)
        found = {name: case(ranks, own) for name, case in CASES.items()}
        (folder / f"{ranks.rank}.json").write_text(json.dumps(found))
    os.environ["MASTER_PORT"] = last
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = command(["train", str(folder / "fail.yaml")])
    (folder / f"{ranks.rank}.end.json").write_text(json.dumps([status, said.getvalue()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
