"""run.json: what a run was made of, so that it can be repeated, and so that a resumed run can tell whether it is the same."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maskkit.engine.checkpoints import sha256_of
from maskkit.engine.data import files_of
from maskkit.engine.distributed import Ranks
from maskkit.models.adapters import frozen_tensors
from maskkit.plugins import origins_of

if TYPE_CHECKING:
    from maskkit.config import DataConfig, RunConfig
    from maskkit.engine.data import RunData
    from maskkit.masker import Example
    from maskkit.strategy import Strategy


def run_record(config: RunConfig, data: RunData, date: datetime, strategy: Strategy, ranks: Ranks) -> dict[str, Any]:
    """Config, date, versions, machine, git state and fingerprints of the data, in JSON's types.

    date: what chat templates print. rows: sha256 over the hashes of the rows' content, in order; tokens and weights: over what became of
    them, so that a changed tokenizer, template or strategy shows even where no version or name has changed.
    """
    return {
        "config": config.model_dump(mode="json"),
        "date": date.isoformat(),
        "versions": versions(),
        "strategies": origins_of(strategy),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "ranks": ranks.size,
        "git": git_state(Path.cwd()),
        "files": file_records(config.data),
        "train": fingerprint(data.train),
        "held_out": fingerprint(data.held_out),
    }


def file_records(data: DataConfig) -> list[dict[str, Any]]:
    """The files of a run, by size and content, in the order in which they are read."""
    return [_file(path) for path in files_of(data)]


def versions() -> dict[str, str]:
    """Of what numbers depend on."""
    import numpy
    import tokenizers
    import transformers

    import maskkit

    packages = {"maskkit": maskkit, "torch": torch, "transformers": transformers, "tokenizers": tokenizers, "numpy": numpy}
    return {**{name: str(package.__version__) for name, package in packages.items()}, "python": platform.python_version()}


def fingerprint(rows: Iterable[Example]) -> dict[str, Any]:
    """How many rows, and digests of their content, their tokens and their weights."""
    keys, ids, weights, count = hashlib.sha256(), hashlib.sha256(), hashlib.sha256(), 0
    for row in rows:
        count += 1
        keys.update(row.tokens.row_key.encode())
        ids.update(len(row).to_bytes(8, "little") + row.input_ids.astype("<i8").tobytes())
        weights.update(row.loss_weights.astype("<f4").tobytes())
    return {"count": count, "rows": keys.hexdigest(), "tokens": ids.hexdigest(), "weights": weights.hexdigest()}


def frozen_fingerprint(model: Any) -> str:
    """Digest of the parameters that training does not change, and a checkpoint does not hold. Bits are added up, which gives the same
    digest for any number of threads, and takes no longer than reading them."""
    digest = hashlib.sha256()
    for name, tensor in frozen_tensors(model):
        bits = tensor.detach().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} {int(bits.sum(dtype=torch.int64))};".encode())
    return digest.hexdigest()


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that ``folder`` is in, and whether tracked files differ from it; None outside one, or without git."""
    try:
        commit, changed = (_git(folder, *command) for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet: nothing to say
        return None
    return {"commit": commit.strip(), "changed": bool(changed.strip())}


def _git(folder: Path, *command: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, check=True, timeout=10).stdout


def _file(path: str) -> dict[str, Any]:
    """A file by size and content; what is built in has neither."""
    file = Path(path)
    return {"path": path, **({"bytes": file.stat().st_size, "sha256": sha256_of(file)} if file.is_file() else {})}
