"""The Trainer of transformers, with a weight for every token.

pip install 'maskkit[trainer,datasets]' && python examples/hf_trainer.py
torchrun --nproc-per-node 2 examples/hf_trainer.py          prints the same
"""

import tempfile

from datasets import Dataset
from transformers import TrainingArguments

import maskkit
from maskkit import embedded
from maskkit.integrations.transformers import WeightedTrainer

STEPS, BATCH, ACCUMULATION = 8, 2, 4

tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)
rows = Dataset.from_list([{"messages": row["messages"]} for row in embedded.quickstart_rows()[: STEPS * BATCH * ACCUMULATION]])

masker = maskkit.Masker(tokenizer, strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0})
dataset = rows.map(masker.encode_batch, batched=True, remove_columns=rows.column_names)

with tempfile.TemporaryDirectory() as folder:
    args = TrainingArguments(
        folder,
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATION,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    args.gradient_accumulation_steps //= args.world_size  # as many rows in a step, however many processes there are
    # as a stream, so that the rows come in order and the curve is that of the other examples
    trainer = WeightedTrainer(model, args, train_dataset=dataset.to_iterable_dataset(), data_collator=maskkit.DataCollator(tokenizer))
    trainer.train()

if trainer.is_world_process_zero():
    for entry in trainer.state.log_history[:STEPS]:
        print(f"step {entry['step']}  loss {entry['loss']:.6f}")
