"""Attribution over all templates that registry packages bring, times all conversations; prints the result and fails if any cell is wrong.

    python -m tests.campaigns.attribution            all templates; a few minutes
    python -m tests.campaigns.attribution NAME...    those whose name contains one of the words

What it printed last is in ``attribution.txt`` beside this file.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from tests.campaigns.cell import judge
from tests.campaigns.conversations import ALL
from tests.real import TEMPLATE_PACKAGES, TemplatesInJson

PACKAGES = {**TEMPLATE_PACKAGES, "xinference": TemplatesInJson("xinference", "4.1.0", "xinference/model/llm/models")}
"""Where templates come from; those of the last are kept for this campaign, and attribution was not built with any of them in view."""

UNSERVED = "assistant first"
"""The conversation that begins with a reply: many templates refuse a prompt without messages, so what the model emits of it is unknown."""


def templates() -> dict[str, str]:
    """Every distinct template, by package and name."""
    found: dict[str, str] = {}
    for package, source in PACKAGES.items():
        for name, text in source.templates().items():
            found.setdefault(text, f"{package}/{name}")
    return {name: text for text, name in found.items()}


def cells(wanted: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Name of the template, its text, name of the conversation."""
    words = list(wanted)
    for name, text in templates().items():
        if not words or any(word in name for word in words):
            for conversation in ALL:
                yield name, text, conversation


def main(wanted: list[str]) -> int:
    """Runs the campaign; 1 if any cell is wrong."""
    verdicts, sums, used = Counter[str](), Counter[str](), set[str]()
    unknown = Counter[tuple[str, str]]()
    wrong: list[str] = []
    for name, text, conversation in cells(wanted):
        used.add(name)
        try:
            outcome = judge(text, ALL[conversation])
        except Exception as error:
            verdicts["wrong" if isinstance(error, AssertionError) else "crashed"] += 1
            wrong.append(f"{name}, {conversation!r}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            continue
        verdicts[outcome.verdict] += 1
        sums.update(characters=outcome.characters, unknown=outcome.unknown, compared=outcome.compared, prompts=outcome.prompts)
        unknown[conversation, name] += outcome.unknown
    packages = ", ".join(f"{p.name} {p.version}" for p in PACKAGES.values())
    print(f"{len(used)} templates of {packages}")
    print(f"{len(ALL)} conversations; transformers {version('transformers')}, jinja2 {version('jinja2')}")
    print(f"{sum(verdicts.values())} cells:", ", ".join(f"{verdicts[v]} {v}" for v in ("exact", "refused", "unknown", "wrong", "crashed")))
    print(f"{sums['characters']:,} characters, {sums['unknown']:,} unknown ({sums['unknown'] / max(sums['characters'], 1):.4%})")
    served = sums["unknown"] - sum(count for (conversation, _), count in unknown.items() if conversation == UNSERVED)
    print(
        f"{served:,} of them ({served / max(sums['characters'], 1):.4%}) outside {UNSERVED!r}, where many templates refuse the first prompt"
    )
    print(f"{sums['compared']:,} characters confirmed by stand-ins; {sums['prompts']:,} beginnings equal to their rendering in full")
    for conversation in ALL:
        said = {name: count for (of, name), count in unknown.items() if of == conversation and count}
        if said:
            print(f"  unknown in {conversation!r}: {sum(said.values())} characters, {len(said)} templates: {', '.join(sorted(said)[:8])}")
    for line in wrong:
        print("  WRONG:", line)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
