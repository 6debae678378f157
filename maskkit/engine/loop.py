"""The loop of the lesson: take a batch, predict every position, cross-entropy, ask what counts, update."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from maskkit.engine.batches import sources_of
from maskkit.engine.optimizer import clip_gradients
from maskkit.errors import TrainingError
from maskkit.loss import weighted_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskkit.engine.batches import MicroBatch
    from maskkit.engine.run import Run


def training_loop(run: Run) -> None:
    """Train until ``run.steps`` updates are done. Raises TrainingError, naming step and rows, where nothing is trained or a number is not
    finite; TrainingStopped, after the step and with a checkpoint, where the process was asked to stop."""
    run.model.train()
    for step in run.remaining_steps():
        started = time.perf_counter()

        denominator = None
        while denominator is None:  # once, unless batches that train nothing are to be passed over
            # Take a batch: which rows the optimizer step learns from, in micro-batches. Where several processes train, each has its part.
            plans = run.ranks.part(run.order.take(run.plans_per_step))

            # Ask the strategy how much the loss of each token counts. It is asked anew for every batch; it sees tokens, never losses.
            batches = run.reweighting.ahead(step, run.batcher(run.weigh(plans)))
            denominator = run.denominator(step, batches)

        loss = 0.0
        for batch in run.sharding.each(batches):
            # Predict every position: how probable does the model find each true token, given the true tokens before it?
            predicted = run.predict.scores(batch.tensors, run.reweighting.request(batch))
            # Loss modifiers, where there are any, weigh the tokens anew by what was predicted.
            coefficients = run.reweighting(step, batch, predicted)
            # Cross-entropy is -log p. Times the weights, summed, divided once by what the whole global batch weighs.
            part = weighted_sum(predicted.log_prob, coefficients) / denominator
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
        (loss,) = run.ranks.totals(loss)
        loss = run.reweighting.rescale(step, run.model, loss, denominator)
        run.measure_kinds(step, batches[0])

        # Update the parameters against the gradient.
        norm = clip_gradients(run.model, run.max_grad_norm)
        check_finite(run, step, loss, norm, batches)
        learning_rate = float(run.schedule.get_last_lr()[0])
        run.optimizer.step()
        run.schedule.step()
        run.optimizer.zero_grad()

        run.report(step, loss, norm, learning_rate, batches, time.perf_counter() - started)
        run.after(step)


def check_finite(run: Run, step: int, loss: float, norm: float, batches: Sequence[MicroBatch]) -> None:
    """Stop before a number that is not finite reaches the parameters."""
    for name, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"step {step}: the {name} is {value}, expected a finite number; nothing was updated. "
                f"Rows of this step: {sources_of(batches, run.ranks)}. Lower the learning rate, lengthen the warm-up, or look at these rows"
            )
