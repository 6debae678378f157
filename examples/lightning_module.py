"""Lightning, with a weight for every token.

pip install 'maskkit[lightning]' && python examples/lightning_module.py
torchrun --nproc-per-node 2 examples/lightning_module.py          prints the same
"""

import os

import lightning
import torch

import maskkit
from maskkit import embedded
from maskkit.integrations.lightning import WeightedDataModule, WeightedModule

STEPS, BATCH, ACCUMULATION = 8, 2, 4

processes = int(os.environ.get("WORLD_SIZE", 1))
accumulation = ACCUMULATION // processes  # as many rows in a step, however many processes there are
tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)
masker = maskkit.Masker(tokenizer, strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0})
examples = masker.batch({"messages": row["messages"]} for row in embedded.quickstart_rows()[: STEPS * BATCH * ACCUMULATION])
data = WeightedDataModule(examples, maskkit.DataCollator(tokenizer), batch_size=BATCH, accumulation=accumulation, shuffle=False)


class Module(WeightedModule):
    """With an optimizer of its own."""

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=0.0)


class Print(lightning.Callback):
    """Prints each loss."""

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if trainer.is_global_zero:
            print(f"step {number + 1}  loss {trainer.callback_metrics['train_loss']:.6f}")


trainer = lightning.Trainer(
    max_steps=STEPS,
    accelerator="cpu",
    devices=processes,
    callbacks=[Print()],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Module(model, max_grad_norm=1.0), data)
