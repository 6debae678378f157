"""Ids and weights of a data set, made by several processes and kept in the cache of datasets, and what was noticed of its rows.

python examples/map_dataset.py [DATA.jsonl] [PROCESSES]
"""

import sys
from collections import Counter

import numpy as np
from datasets import Dataset, load_dataset

import maskkit
from maskkit import embedded


def main(data: str = "", processes: str = "2") -> None:
    """Prints what the weights add up to, and each sort of finding."""
    if data:
        dataset = load_dataset("json", data_files=data, split="train")
    else:
        dataset = Dataset.from_list([{"messages": row["messages"]} for row in embedded.quickstart_rows()[:400]])

    masker = maskkit.Masker(embedded.tiny_tokenizer(), strategy={"name": "weighted", "reasoning": 0.3, "answer": 1.0}, max_length=64)
    rows = dataset.map(
        masker.encode_batch,
        batched=True,
        num_proc=int(processes),
        remove_columns=dataset.column_names,
        fn_kwargs={"findings": True},  # each process counts for itself, so the rows say what was noticed of them
    )

    weights = np.concatenate(rows.with_format("numpy")["loss_weights"][:])
    total = weights.sum(dtype=np.float64)
    print(f"{len(rows)} of {len(dataset)} rows, {len(weights)} tokens, {(weights > 0).sum()} trained, weight {total:.1f}")
    for code, count in Counter(code for found in rows["findings"] for code in found.split()).most_common():
        print(f"{code}: {count} rows")


if __name__ == "__main__":  # where processes are started anew, each reads this file
    main(*sys.argv[1:])
