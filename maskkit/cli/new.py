"""``maskkit new``: a first config, from the user's own data, or a package for a strategy of their own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli import new_plugin
from maskkit.cli.output import write_page
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from maskkit.inspect.survey import Survey

app = typer.Typer(help="Write a first config from your own data, or a package for a strategy of your own.", rich_markup_mode=None)

EPOCHS = 3
BATCH, ACCUMULATION = 8, 4
HELD_OUT = 0.05
UNTRAINED = "tiny"
LONGEST = 8192
"""Longest max_length that is suggested."""


@app.callback()
def new() -> None:
    """Write a first config from your own data, or a package for a strategy of your own."""


app.command("plugin")(new_plugin.plugin)


@app.command("config")
def config(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Rows: a .jsonl, .json or .parquet file, a folder, a pattern.")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="M", help="Hub name, folder, `smollm2` or `tiny`.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="File to write; - prints it.")] = "config.yaml",
) -> None:
    """Write a commented config for DATA: strategy, lengths and steps are suggested from its rows."""
    if output != "-" and Path(output).exists():
        raise ConfigError(f"{output} already exists: choose another name with -o")
    from maskkit.inspect.survey import survey
    from maskkit.models import load_tokenizer
    from maskkit.records import records_of

    records = list(records_of(data))
    if not records:
        raise ConfigError(f"{data}: no row is in it, so there is nothing to suggest a config from")
    tokenizer = load_tokenizer(model)
    text = config_text(survey(records, tokenizer), data, model, model_limit=tokenizer.model_max_length)
    if output == "-":
        print(text, end="")
        return
    write_page("--output", Path(output), text)
    print(f"wrote {output}; next:  maskkit preview {output}  and  maskkit train {output}")


def config_text(found: Survey, data: str, model: str, *, model_limit: int = LONGEST) -> str:
    """The config, as YAML with comments."""
    max_length = suggested_length(found, model_limit)
    strategy, why = suggested_strategy(found)
    trained_rows = max(round(found.rows * (1 - HELD_OUT)), 1)
    accumulation = ACCUMULATION if trained_rows >= BATCH * ACCUMULATION * 10 else 1
    steps = math.ceil(EPOCHS * trained_rows / (BATCH * accumulation))
    cut = sum(length > max_length for length in found.lengths)
    reasoning = "" if found.reasoning_is_printed else "\n  reasoning: inline  # this model's chat template has no place for reasoning"
    return f"""\
# {found.rows} rows in {data}: {_contents(found)}.
model: {_scalar(model)}
data:
  train: {_scalar(data)}
  eval: {HELD_OUT}  # the share of rows held out to measure on, or a file{reasoning}
# {why}; see  maskkit strategies
strategy: {strategy}
# in tokens: half of the rows have up to {found.quantile(0.5)}, the longest has {found.lengths[-1]}; {_cut(cut, found)}
max_length: {max_length}
training:
  max_steps: {steps}  # {_epochs(steps, accumulation, trained_rows)}
  per_device_train_batch_size: {BATCH}
  gradient_accumulation_steps: {accumulation}
  learning_rate: {"1.0e-3  # tiny starts untrained" if model == UNTRAINED else "2.0e-5"}
  lr_scheduler_type: cosine
  warmup_steps: {steps // 20}
  eval_steps: {max(steps // 5, 1)}
  save_steps: {max(steps // 5, 1)}  # a checkpoint, from which  maskkit train --resume  goes on; the newest two stay
  seed: 0
output_dir: {_scalar(f"runs/{_stem(data)}")}
"""


def suggested_length(found: Survey, model_limit: int) -> int:
    """A length that cuts no sampled row, in steps of 64; where that is too long for the model or a first run, the largest that is not."""
    whole = max(math.ceil(found.lengths[-1] / 64) * 64, 64)
    return min(whole, model_limit, LONGEST)


def suggested_strategy(found: Survey) -> tuple[str, str]:
    """A strategy for data of this sort, and the reason."""
    if set(found.forms) == {"text"}:
        return "causal", "every token of plain text counts"
    if "text" in found.forms:
        raise ConfigError(
            f"the rows are of different forms ({_counts(found.forms)}), and no single strategy fits plain text and replies: "
            "give each form a file of its own"
        )
    if found.reasoning:
        return (
            "{name: weighted, reasoning: 0.3, answer: 1.0}",
            "the reasoning counts less than the answer; assistant-only weighs both alike",
        )
    return "assistant-only", "only what the model itself would write counts"


def _contents(found: Survey) -> str:
    parts = [_counts(found.forms)]
    if found.roles:
        parts.append(f"roles {', '.join(found.roles)}")
    parts += [f"{count} with {name}" for name, count in (("reasoning", found.reasoning), ("tools", found.tools)) if count]
    parts += [f"{count} of the first {len(found.lengths)} rows {code}" for code, count in found.findings.items()]
    return "; ".join(parts)


def _counts(values: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in values.items())


def _cut(cut: int, found: Survey) -> str:
    return f"{cut} of {len(found.lengths)} rows looked at are cut" if cut else "no row looked at is cut"


def _epochs(steps: int, accumulation: int, rows: int) -> str:
    return f"{steps * BATCH * accumulation / rows:.3g} times through {rows} rows"


def _stem(data: str) -> str:
    """A name for runs on the data: that of the file or folder; of a pattern, what is plain in it."""
    parts = [part.partition(".")[0] for part in reversed(Path(data).parts)]
    return next((part for part in parts if part.strip("/\\") and not set(part) & set("*?[")), "first")


def _scalar(text: str) -> str:
    """A text as a YAML scalar."""
    import yaml

    return str(yaml.safe_dump(text, allow_unicode=True, width=10_000)).removesuffix("\n").removesuffix("\n...")
