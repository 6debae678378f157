"""What is not installed is named, with the extra that brings it; what is, is found in several processes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import maskkit
from maskkit import embedded


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("transformers", "accelerate", "trainer"), ("trl", "trl", "trl"), ("lightning", "lightning", "lightning")],
)
def test_a_missing_package_names_its_extra(module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch):
    name = f"maskkit.integrations.{module}"
    pytest.importorskip(package)
    importlib.import_module(name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        maskkit.MissingExtraError, match=rf"needs the package '{package}': install it with  pip install 'maskkit\[{extra}\]'"
    ):
        importlib.import_module(name)


def test_rows_mapped_by_several_processes_are_those_of_one():
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list([{"messages": row["messages"]} for row in embedded.quickstart_rows()[:8]])
    masker = maskkit.Masker(embedded.tiny_tokenizer(), strategy={"name": "weighted", "reasoning": 0.3})
    options = {"batched": True, "remove_columns": dataset.column_names, "load_from_cache_file": False}
    alone, together = dataset.map(masker.encode_batch, **options), dataset.map(masker.encode_batch, num_proc=2, **options)
    assert alone.column_names == together.column_names == ["input_ids", "labels", "loss_weights"]
    assert alone.to_list() == together.to_list()


def test_counts_are_those_of_one_process_and_findings_those_of_all():
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list([{"messages": row["messages"]} for row in embedded.quickstart_rows()[:40]])
    options = {"batched": True, "remove_columns": dataset.column_names, "load_from_cache_file": False, "fn_kwargs": {"findings": True}}
    cut, dropped = (maskkit.Masker(embedded.tiny_tokenizer(), max_length=64, truncation=how) for how in ("right", "drop"))
    mapped = dataset.map(cut.encode_batch, num_proc=2, **options)
    assert not cut.counts
    dataset.map(cut.encode_batch, **options)
    assert sum("truncated" in found.split() for found in mapped["findings"]) == cut.counts["truncated"] > 0
    left = dataset.map(dropped.encode_batch, num_proc=2, **options)
    assert not dropped.counts
    dataset.map(dropped.encode_batch, **options)
    assert len(dataset) - len(left) == dropped.counts["dropped"] > 0


def test_the_example_that_maps_tells_what_its_processes_noticed():
    pytest.importorskip("datasets")
    example = Path(__file__).parents[2] / "examples" / "map_dataset.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, check=True, timeout=300)
    masker = maskkit.Masker(embedded.tiny_tokenizer(), strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0}, max_length=64)
    rows = [{"messages": row["messages"]} for row in embedded.quickstart_rows()[:400]]
    weights = np.concatenate([made.loss_weights for made in masker.batch(rows)])
    assert done.stdout.splitlines()[0] == (
        f"400 of 400 rows, {len(weights)} tokens, {(weights > 0).sum()} trained, weight {weights.sum(dtype=float):.1f}"
    )
    assert masker.counts["truncated"] > 0
    assert done.stdout.splitlines()[1:] == [f"{code}: {count} rows" for code, count in masker.counts.most_common()]


def test_a_masker_that_has_been_used_finds_the_cache_of_one_that_has_not():
    """``datasets`` names its cache by what a function is made of: a split mapped second must not be mapped anew in every run."""
    fingerprint = pytest.importorskip("datasets.fingerprint")
    options = {"strategy": {"name": "weighted", "reasoning": 0.3}, "history": "as-rendered"}
    masker, fresh = (maskkit.Masker(embedded.tiny_tokenizer(), **options) for _ in range(2))
    made = masker.batch(embedded.quickstart_rows()[:3])
    assert made
    assert fingerprint.Hasher.hash(masker.encode_batch) == fingerprint.Hasher.hash(fresh.encode_batch)
    other = maskkit.Masker(embedded.tiny_tokenizer(), strategy={"name": "weighted", "reasoning": 0.4})
    assert fingerprint.Hasher.hash(other.encode_batch) != fingerprint.Hasher.hash(fresh.encode_batch)


def test_another_release_does_not_find_the_cache(monkeypatch: pytest.MonkeyPatch):
    fingerprint = pytest.importorskip("datasets.fingerprint")
    before = maskkit.Masker(embedded.tiny_tokenizer())
    monkeypatch.setattr(maskkit, "__version__", "99.0")
    after = maskkit.Masker(embedded.tiny_tokenizer())
    assert fingerprint.Hasher.hash(before.encode_batch) != fingerprint.Hasher.hash(after.encode_batch)
