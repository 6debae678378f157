"""What two processes do that ``accelerate launch`` has started; `test_launched` starts them.

    accelerate launch --multi_gpu --num_processes 2 -m tests.integrations.launched FOLDER

Process N leaves FOLDER/rankN.json: what every example printed there, and what became of a run of the Trainer that was cut and gone on with.
"""

from __future__ import annotations

import io
import json
import logging
import os
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

import maskkit
from maskkit.integrations.transformers import WeightedTrainer
from maskkit.kinds import CODE
from tests.integrations.small import TOKENIZER, arguments, in_order, mapped
from tests.reference import ragged_rows, tiny_llama

EXAMPLES = ("plain_torch", "lightning_module", "accelerate_loop", "hf_trainer", "trl_sft")
"""In this order: the first joins the processes together, which the others find done."""

ROWS, HELD_OUT, STEPS, SAVE = 21, 7, 5, 2


def printed(example: str) -> list[str]:
    """The lines that an example prints."""
    with redirect_stdout(io.StringIO()) as output:
        runpy.run_path(str(Path(__file__).parents[2] / "examples" / f"{example}.py"), run_name="__main__")
    return output.getvalue().splitlines()


def trained(folder: Path, resume: Path | None = None) -> dict[str, Any]:
    """A run over rows that divide by nothing, eight a step; what it logged, printed and learned. resume: a checkpoint to go on from."""
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    rows = [{**row, "kinds": _kinds(len(row["input_ids"]))} for row in mapped(ragged_rows(ROWS + HELD_OUT))]
    args = arguments(
        folder,
        optim="adamw_torch",
        learning_rate=1e-2,
        max_steps=STEPS,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4 // ranks,
        per_device_eval_batch_size=2,
        eval_strategy="steps",
        eval_steps=SAVE,
        save_strategy="steps",
        save_steps=SAVE,
        ddp_backend="gloo" if ranks > 1 else None,
    )
    model, collator = tiny_llama(), maskkit.DataCollator(TOKENIZER)
    trainer = in_order(WeightedTrainer(model, args, train_dataset=rows[:ROWS], eval_dataset=rows[ROWS:], data_collator=collator))
    with redirect_stdout(io.StringIO()) as output:
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return {
        "history": [{name: value for name, value in entry.items() if "loss" in name} for entry in trainer.state.log_history],
        "printed": output.getvalue(),
        "parameters": [parameter.detach().sum(dtype=torch.float64).item() for parameter in model.parameters()],
    }


def _kinds(length: int) -> list[int]:
    return [CODE["answer" if number % 3 else "user"] for number in range(length)]


def main() -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    found: dict[str, Any] = {"examples": {example: printed(example) for example in EXAMPLES}}
    found["whole"] = trained(folder / "whole")
    try:  # each has a folder of its own now, which shows what each writes
        found["resumed"] = trained(folder / f"resumed{rank}", folder / "whole" / f"checkpoint-{SAVE}")
    except RuntimeError as error:
        if "tagged with cpu:" not in str(error):  # the Trainer of transformers 5.0 gives PyTorch a device that it does not know
            raise
        found["resumed"] = None
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
