"""All codes in words: what ``maskkit lint --explain`` prints and what ``docs/lint.md`` lists.

python -m maskkit.inspect.lint.catalogue docs/lint.md       writes the list into the page
"""

from __future__ import annotations

import sys
from pathlib import Path

from maskkit.findings import GROUPS, REGISTRY, Code

BEGIN, END = "<!-- codes: made from maskkit/findings.py -->\n", "<!-- end of codes -->\n"
"""Between them stands the list in the page."""


def severity_of(code: Code) -> str:
    """Its severity, and when it is another: ``error; warning where a strategy asks for it``."""
    said = [str(code.severity)]
    if code.chosen:
        said.append(f"{code.chosen} where a strategy asks for it")
    if code.everywhere:
        said.append(f"{code.everywhere} where it is so of every row")
    return "; ".join(said)


def explained(code: Code) -> str:
    """Number, name, severity, meaning, reason and fix, a line each."""
    return f"{code.number} {code.name} ({severity_of(code)})\n{code.meaning}\nwhy: {code.why}\nfix: {code.fix}"


def markdown() -> str:
    """The list of all codes as the page has it."""
    parts = []
    for beginning, title in GROUPS.items():
        rows = "".join(map(_row, (code for code in REGISTRY.values() if code.number.startswith(beginning))))
        parts.append(f"### {title}\n\n| code | severity | meaning | why, and what to do |\n|---|---|---|---|\n{rows}")
    return "\n".join(parts)


def _row(code: Code) -> str:
    return f"| {code.number} `{code.name}` | {severity_of(code)} | {_cell(code.meaning)} | {_cell(f'{code.why} {code.fix}')} |\n"


def _cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


def updated(page: str) -> str:
    """The page with the list as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
