"""TRL's SFTTrainer, with a weight for every token.

pip install 'maskkit[trl]' && python examples/trl_sft.py
"""

import tempfile

from datasets import Dataset
from trl import SFTConfig

import maskkit
from maskkit import embedded
from maskkit.integrations.trl import WeightedSFTTrainer

STEPS, BATCH, ACCUMULATION = 8, 4, 2

tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)
rows = Dataset.from_list([{"messages": row["messages"]} for row in embedded.quickstart_rows()[: STEPS * BATCH * ACCUMULATION]])

masker = maskkit.Masker(tokenizer, strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0}, max_length=512)
dataset = rows.map(masker.encode_batch, batched=True, remove_columns=rows.column_names)

with tempfile.TemporaryDirectory() as folder:
    args = SFTConfig(
        folder,
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATION,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        max_length=512,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
    )
    # as a stream, so that the rows come in order and the curve is that of the other examples
    trainer = WeightedSFTTrainer(model, args, train_dataset=dataset.to_iterable_dataset(), processing_class=tokenizer)
    trainer.train()

for entry in trainer.state.log_history[:STEPS]:
    print(f"step {entry['step']}  loss {entry['loss']:.6f}")
