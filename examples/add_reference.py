"""Give every row a column with a reference model's log-probability of each token, for `selective` or `importance`.

    python examples/add_reference.py data.jsonl scored.jsonl --model smollm2 --reference smollm2

--model is the one to be trained: its tokenizer and template decide the tokens, and a run with it reads the column. The reference has to
have the same vocabulary. The column holds the ids too, so that scores of other tokens are refused.
"""

import argparse
import json
from pathlib import Path

import torch

from maskkit import Masker
from maskkit.models import load_model, load_tokenizer
from maskkit.records import records_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--reference", default="tiny")
    parser.add_argument("--column", default="reference_log_probs")
    arguments = parser.parse_args()

    masker = Masker(load_tokenizer(arguments.model), "causal")
    reference = load_model(arguments.reference).eval()
    with arguments.output.open("w", encoding="utf-8") as file:
        for record in records_of(arguments.data):
            ids = torch.from_numpy(masker(record).input_ids.copy())
            with torch.no_grad():
                log_probs = reference(input_ids=ids[None], use_cache=False).logits[0, :-1].float().log_softmax(-1)
            values = [None, *log_probs.gather(-1, ids[1:, None])[:, 0].tolist()]  # nothing predicts the first token
            scored = {**record.row, arguments.column: {"input_ids": ids.tolist(), "values": values}}
            file.write(json.dumps(scored, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
