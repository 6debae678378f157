"""What the language-model head and the loss cost, in time and memory, for every backend and share of trained tokens.

    python -m benchmarks.head [VOCABULARY...]        ``head.txt``: what it printed last

One micro-batch of `TOKENS` hidden states of size `SIZE` in float32, forward and backward, on one thread. Seconds are processor time, the
best of `REPETITIONS` interleaved ones (from half of the tokens on, of one); memory is the largest resident size above that of the inputs,
each measurement in a process of its own, forked when the inputs are there. ``of full`` divides both by what full logits need, which compute
every token and weigh afterwards. ``single-pass``, ``recompute``, ``torch``: backends of maskkit.loss. ``+ dft``, ``+ entropy``: recompute
with a loss modifier, which sees log-probabilities, or entropies too, between the two passes. ``trl``: TRL's kernel, where it is installed,
on the trained tokens alone.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import thread_time
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskkit.loss import Projection, predicted, weighted_sum

VOCABULARIES = (49_152, 151_936)
"""SmolLM2's and Qwen3's."""
SHARES = (0.05, 0.2, 0.5, 1.0)
TOKENS, SIZE, REPETITIONS = 2_048, 576, 3


class Inputs(NamedTuple):
    """hidden [T, H], weight [V, H], targets [T], weights [T], of which a share is not 0."""

    hidden: Tensor
    weight: Tensor
    targets: Tensor
    weights: Tensor

    def trained(self) -> Inputs:
        """Of the tokens that count."""
        counts = self.weights.nonzero()[:, 0]
        return Inputs(self.hidden[counts], self.weight, self.targets[counts], self.weights[counts])


class Cost(NamedTuple):
    """Processor seconds, and MiB above the inputs."""

    seconds: float
    mebibytes: float


def inputs(vocabulary: int, share: float) -> Inputs:
    """Random ones, always the same."""
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, SIZE).requires_grad_()
    weight = (0.02 * torch.randn(vocabulary, SIZE)).requires_grad_()
    weights = torch.rand(TOKENS, dtype=torch.float64) + 0.1
    weights[torch.randperm(TOKENS)[round(share * TOKENS) :]] = 0
    return Inputs(hidden, weight, torch.randint(0, vocabulary, (TOKENS,)), weights)


def full_logits(given: Inputs) -> Tensor:
    """The usual way: logits of every token, weighed afterwards."""
    losses = F.cross_entropy(given.hidden @ given.weight.T, given.targets, reduction="none")
    return (losses * given.weights).sum()


def backend(name: str) -> Callable[[Inputs], Tensor]:
    """A backend of maskkit.loss, with weights that are known beforehand."""

    def loss(given: Inputs) -> Tensor:
        hidden, weight, targets, weights = given.trained()
        found = predicted(hidden, Projection(weight), targets, backend=name, coefficients=weights)
        return weighted_sum(found.log_prob, weights)

    return loss


def modified(*needs: str) -> Callable[[Inputs], Tensor]:
    """With weights that are known only after the log-probabilities."""

    def loss(given: Inputs) -> Tensor:
        hidden, weight, targets, weights = given.trained()
        found = predicted(hidden, Projection(weight), targets, needs=needs)
        scores = found.log_prob.detach().exp() if found.entropy is None else found.entropy
        return weighted_sum(found.log_prob, weights * scores)

    return loss


def trl(given: Inputs) -> Tensor:
    """TRL's kernel, with its own defaults."""
    from trl.kernels import ChunkedLogProbFunction

    hidden, weight, targets, weights = given.trained()
    log_probs = ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32_768, None, 1.0, ())[0]
    return -(log_probs * weights).sum()


WAYS: dict[str, Callable[[Inputs], Tensor]] = {
    "single-pass": backend("single-pass"),
    "recompute": backend("recompute"),
    "+ dft": modified(),
    "+ entropy": modified("entropy"),
    "torch": backend("torch"),
    "trl": trl,
}


def cost(way: Callable[[Inputs], Tensor], given: Inputs) -> Cost:
    """What one forward and backward pass costs, in a child of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        before, began = _resident("VmRSS"), thread_time()
        way(given).backward()
        seconds = thread_time() - began
        os.write(writer, json.dumps([seconds, (_resident("VmHWM") - before) / 1024]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return Cost(*json.loads(answer))


def _resident(name: str) -> int:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def best(ways: dict[str, Callable[[Inputs], Tensor]], given: Inputs, repetitions: int = REPETITIONS) -> dict[str, Cost]:
    """Of each the least time and memory of several; they take turns."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            found[name].append(cost(way, given))
    return {name: Cost(*map(min, zip(*costs, strict=True))) for name, costs in found.items()}


def largest_difference(way: Callable[[Inputs], Tensor], given: Inputs) -> float:
    """Of any gradient from that of full logits, relative to the largest."""
    gradients = [torch.autograd.grad(loss(given), (given.hidden, given.weight)) for loss in (way, full_logits)]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*gradients, strict=True))


def main(vocabularies: list[int]) -> None:
    """Prints one table for each vocabulary."""
    torch.set_num_threads(1)
    ways = {name: way for name, way in WAYS.items() if name != "trl" or _installed("trl")}
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "trl") if _installed(name))
    print(f"Python {platform.python_version()}, {packages}, {platform.machine()}, one thread; {TOKENS} tokens of size {SIZE}, float32")
    for vocabulary in vocabularies or VOCABULARIES:
        full = best({"full": full_logits}, inputs(vocabulary, 1.0))["full"]
        print(f"\nvocabulary {vocabulary}: full logits {full.seconds:.2f} s, {full.mebibytes:.0f} MiB")
        print(f"{'trained':>8} {'':12} {'seconds':>8} {'MiB':>6}   of full: time memory   gradients differ by")
        for share in SHARES:
            given = inputs(vocabulary, share)
            for name, found in best(ways, given, REPETITIONS if share < 0.5 else 1).items():
                time, memory = found.seconds / full.seconds, found.mebibytes / full.mebibytes
                line = f"{share:8.0%} {name:12} {found.seconds:8.2f} {found.mebibytes:6.0f} {time:14.2f} {memory:6.2f}"
                apart = "" if name.startswith("+") or share > SHARES[0] else f"{largest_difference(ways[name], given):.0e}"
                print(f"{line}   {apart}".rstrip(), flush=True)


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
