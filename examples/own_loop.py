"""A training loop of your own, with weights and loss from maskkit.

python examples/own_loop.py
"""

import torch

import maskkit
from maskkit import embedded

torch.manual_seed(0)
tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)
masker = maskkit.Masker(tokenizer, strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0})
collate = maskkit.DataCollator(tokenizer)
examples = masker.batch(embedded.quickstart_rows()[:320])
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

for step in range(20):
    batch = collate(examples[step * 16 : (step + 1) * 16])  # take a batch
    labels, weights = batch.pop("labels"), batch.pop("loss_weights")
    batch.pop("document_ids")
    logits = model(**batch, use_cache=False).logits  # predict every position
    loss = maskkit.weighted_cross_entropy(logits, labels, weights)  # cross-entropy, times weights, divided by their sum
    loss.backward()
    optimizer.step()  # update
    optimizer.zero_grad()
    if step % 5 == 0 or step == 19:
        print(f"step {step:2d}  loss {loss.item():.3f}")
