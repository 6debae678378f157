"""A loop of your own with accelerate: accumulation, any number of ranks, and a weight for every token.

pip install 'maskkit[trainer]' && python examples/accelerate_loop.py
torchrun --nproc-per-node 2 examples/accelerate_loop.py          prints the same
"""

import itertools
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

import maskkit
from maskkit import embedded
from maskkit.integrations.global_batch import GlobalBatchLoss
from maskkit.integrations.rows import filled

STEPS, BATCH, ACCUMULATION = 8, 2, 4

tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)
masker = maskkit.Masker(tokenizer, strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0})
examples = masker.batch({"messages": row["messages"]} for row in embedded.quickstart_rows()[: STEPS * BATCH * ACCUMULATION])

accelerator = Accelerator(cpu=True)  # gradient_accumulation_steps stays 1: the loop below accumulates
even = filled(examples, BATCH * accelerator.num_processes)  # else accelerate would repeat rows
loader = DataLoader(even, batch_size=BATCH, collate_fn=maskkit.DataCollator(tokenizer))
weighted = GlobalBatchLoss(model)  # before the model is wrapped
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
batches = iter(loader)
accumulation = ACCUMULATION // accelerator.num_processes  # as many rows in a step, however many processes there are


def over_ranks(value):
    return accelerator.reduce(value, "sum")


model.train()
for step in itertools.count(1):
    micro_batches = list(itertools.islice(batches, accumulation))
    if not micro_batches:
        break
    denominator, loss = weighted.denominator(micro_batches, over_ranks), torch.zeros((), dtype=torch.float64)
    for number, batch in enumerate(micro_batches):
        last = number == len(micro_batches) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            share = weighted(model, batch, denominator)
            accelerator.backward(share * accelerator.num_processes)  # ranks average their gradients
        loss += share.detach()
    accelerator.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    accelerator.print(f"step {step}  loss {over_ranks(loss):.6f}")
