"""A loop of your own in plain PyTorch: accumulation, any number of ranks, and a weight for every token.

python examples/plain_torch.py
torchrun --nproc-per-node 2 examples/plain_torch.py          prints the same
"""

import itertools
import os
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

import maskkit
from maskkit import embedded
from maskkit.integrations.global_batch import GlobalBatchLoss, summed_over_ranks
from maskkit.integrations.rows import filled

STEPS, BATCH, ACCUMULATION = 8, 2, 4

ranks, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
if ranks > 1:
    dist.init_process_group("gloo")

tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)
masker = maskkit.Masker(tokenizer, strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0})
examples = masker.batch({"messages": row["messages"]} for row in embedded.quickstart_rows()[: STEPS * BATCH * ACCUMULATION])

even = filled(examples, BATCH * ranks)  # else the sampler would repeat rows
sampler = DistributedSampler(even, num_replicas=ranks, rank=rank, shuffle=False)
batches = iter(DataLoader(even, batch_size=BATCH, sampler=sampler, collate_fn=maskkit.DataCollator(tokenizer)))
accumulation = ACCUMULATION // ranks  # as many rows in a step, however many processes there are
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
weighted = GlobalBatchLoss(model)  # before the model is wrapped
model = DistributedDataParallel(model) if ranks > 1 else model

model.train()
for step in itertools.count(1):
    micro_batches = list(itertools.islice(batches, accumulation))
    if not micro_batches:
        break
    denominator, loss = weighted.denominator(micro_batches), torch.zeros((), dtype=torch.float64)
    for number, batch in enumerate(micro_batches):
        waiting = ranks > 1 and number < len(micro_batches) - 1
        with model.no_sync() if waiting else nullcontext():
            share = weighted(model, batch, denominator)
            (share * ranks).backward()  # ranks average their gradients
        loss += share.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    loss = summed_over_ranks(loss)
    if rank == 0:
        print(f"step {step}  loss {loss:.6f}")
