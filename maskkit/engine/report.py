"""report.html: one run on one page, made of what its folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskkit.engine.curves import figure, loss_panels
from maskkit.engine.metrics import read_metrics
from maskkit.findings import code_of
from maskkit.kinds import KINDS
from maskkit.pages import render
from maskkit.pages.visible import visible

SAMPLES = 12
"""Most replies that are shown."""
EVENTS = 20
"""Most steps that are named for what happened at them."""

_ENDINGS = {"end": "came to its end", "stopped": "was stopped, and can be resumed", "failed": "failed"}


@dataclass(frozen=True)
class KindRow:
    """One kind of token: what the data has of it, and how well the model predicts it."""

    kind: str
    tokens: str
    trained: float
    """Share, in [0, 1]."""
    weight: str
    weight_share: float
    before: str
    after: str


def report_page(folder: Path) -> str:
    """The page about the run in a folder, finished or not, as HTML."""
    metrics = read_metrics(folder / "metrics.jsonl")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    start = next((line for line in metrics if line["event"] == "start"), {})
    last = metrics[-1] if metrics else {}
    return render(
        "report.html",
        style="report.css",
        title=folder.resolve().name,
        ending=_ENDINGS.get(last.get("event", ""), "has not come to its end"),
        error=visible(last["error"]) if last.get("error") else "",
        facts=list(_facts(record, start, metrics)),
        numbers=list(_numbers(metrics)),
        figures=[figure(panel) for panel in loss_panels(metrics, start.get("trained_kinds", []))],
        kinds=list(_kinds(start, [line for line in metrics if line["event"] == "eval"])),
        findings=[(code_of(name), count) for name, count in sorted(start.get("findings", {}).items())],
        events=list(_events(metrics)),
        samples=_samples(folder / "samples.jsonl"),
        environment=list(_environment(record)),
        config=(folder / "config.yaml").read_text(encoding="utf-8"),
    )


def _facts(record: dict[str, Any], start: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    steps = [line for line in metrics if line["event"] == "train"]
    yield "model", visible(str(record["config"]["model"]))
    yield "strategy", visible(str(start.get("strategy", record["config"]["strategy"])))
    yield "steps", f"{len(steps):,} of {record['config']['training']['max_steps']:,}"
    if steps:
        seconds = sum(line["seconds"] for line in steps)
        yield "tokens", f"{sum(line['tokens'] for line in steps):,}, {sum(line['tokens'] for line in steps) / seconds:,.0f} a second"
        yield "training time", f"{seconds / 60:,.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    yield "date", str(record["date"])[:16].replace("T", " ")


def _numbers(metrics: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(name, before, after) of what was measured on the held-out rows, and of the training loss."""
    train = [line for line in metrics if line["event"] == "train"]
    measured = [line for line in metrics if line["event"] == "eval"]
    if train:
        yield "training loss, weighted", _number(train[0]["loss"]), _number(train[-1]["loss"])
    for name, about in (
        ("loss", "held-out loss, weighted"),
        ("perplexity", "held-out perplexity"),
        ("accuracy", "tokens predicted right"),
        ("stop_accuracy", "stop tokens predicted right"),
    ):
        if measured and measured[0].get(name) is not None:
            text = _share if "accuracy" in name else _number
            yield about, text(measured[0][name]), text(measured[-1][name])
    answers = next((line for line in metrics if line["event"] == "answers"), None)
    if answers and answers["accuracy"] is not None:
        yield f"answers exactly right, of {answers['count']}", "", _share(answers["accuracy"])


def _kinds(start: dict[str, Any], measured: Sequence[dict[str, Any]]) -> Iterator[KindRow]:
    found: dict[str, list[float]] = start.get("train_kinds", {})
    all_weight = sum(abs(weight) for _, _, weight in found.values()) or 1.0
    for kind in sorted(found, key=KINDS.index):
        tokens, trained, weight = found[kind]
        losses = [line["kinds"].get(kind) for line in (measured[0], measured[-1])] if measured else [None, None]
        before, after = (_number(loss) if loss is not None else "–" for loss in losses)
        yield KindRow(kind, f"{tokens:,.0f}", trained / tokens, f"{weight:,.6g}", abs(weight) / all_weight, before, after)


def _events(metrics: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Steps at which something unusual happened; the last ones, if there are many."""
    told = [line for line in metrics if line["event"] in ("spike", "skipped")]
    if len(told) > EVENTS:
        yield f"{len(told) - EVENTS} earlier ones are in metrics.jsonl"
    for line in told[-EVENTS:]:
        if line["event"] == "spike":
            yield visible(f"step {line['step']}: the loss was {line['loss']:.4f}, usual is {line['usual']:.4f}. Rows: {line['rows']}")
        else:
            yield visible(f"step {line['step']}: nothing of the batch counts, it was passed over. Rows: {line['rows']}")


def _samples(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:SAMPLES]]
    shown = ("source", "prompt", "completion", "answer", "reference")
    return [{**line, **{name: _lines(line[name]) for name in shown if line[name] is not None}} for line in lines]


def _environment(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from record["versions"].items()
    yield "platform", record["platform"]
    yield "threads", str(record["threads"])
    yield "processes", str(record.get("ranks", 1))
    if record["git"]:
        yield "git commit", record["git"]["commit"] + (", with changes" if record["git"]["changed"] else "")
    for name, origin in record["strategies"].items():
        yield f"strategy {name}", origin
    for file in record["files"]:
        yield file["path"], f"{file['bytes']:,} bytes, sha256:{file['sha256'][:12]}" if "sha256" in file else "bundled"


def _lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
