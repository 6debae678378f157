"""Lint on ids and labels of every chat template that the packages hold: clean masks, and faults planted in them.

python -m tests.campaigns.lint_masks [TOKENIZER]        by default qwen3; a minute or two
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from copy import copy

import maskkit
from maskkit.errors import MaskkitError
from maskkit.inspect.lint.recover import Recoverer
from tests.inspect.lint.rows import Masked
from tests.inspect.lint.test_planted import CLEAN, PLANTED, _names
from tests.real import TEMPLATE_PACKAGES, real_tokenizer


def main(name: str) -> None:
    logging.disable(logging.WARNING)
    tokenizer = copy(real_tokenizer(name))
    rows = recovered = 0
    wrong: list[str] = []
    found: Counter[str] = Counter()
    planted: Counter[str] = Counter()
    for package, made in TEMPLATE_PACKAGES.items():
        for template, text in made.templates().items():
            tokenizer.chat_template = text
            recover = Recoverer(tokenizer)
            for number, chat in enumerate(CLEAN):
                try:
                    right = Masked(*chat["messages"], tokenizer=tokenizer) if "tools" not in chat else None
                    ids, labels = right.pair if right else _pair(tokenizer, chat)
                except MaskkitError:
                    continue
                if not (labels != -100).any():
                    continue
                rows += 1
                names = _names(recover, (ids, labels), tokenizer)
                recovered += "structure-not-recovered" not in names
                errors = [code for code in names if maskkit.findings.REGISTRY[code].severity == "error" and code != "prefill-trained"]
                if errors:
                    wrong.append(f"{package}/{template}, row {number}: {errors}")
                if right is None or "structure-not-recovered" in names or not right.tokens.where(kind="stop").any():
                    continue
                for what, (code, plant) in PLANTED.items():
                    try:
                        pair = plant(right)
                    except IndexError:
                        continue
                    planted[what] += 1
                    hit = code in _names(recover, pair, tokenizer)
                    found[what] += hit
                    if not hit and "-v" in sys.argv:
                        print("missed", package, template, number, what, _names(recover, pair, tokenizer))
    print(f"{name}: {rows} clean rows, structure recovered in {recovered}, errors in {len(wrong)}")
    print("\n".join(wrong))
    for what in PLANTED:
        print(f"{what:<28} found {found[what]} of {planted[what]}")


def _pair(tokenizer: object, chat: dict[str, object]) -> tuple[object, object]:
    example = maskkit.Masker(tokenizer)(chat)
    return example.input_ids, example.labels


if __name__ == "__main__":
    main(next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "qwen3"))
