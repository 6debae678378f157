"""What lint found, as typed objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from maskkit.findings import SEVERITIES, Code, Severity


@dataclass(frozen=True, slots=True)
class Place:
    """One row that a finding concerns."""

    source: str
    """``data.jsonl:7``, ``row 7``."""
    message: str
    """The particulars."""
    excerpt: str = ""
    """The text around the first token that it concerns, the token in ⟦ ⟧."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """All rows with one sort of finding."""

    code: Code
    severity: Severity
    rows: int
    count: int
    """Tokens or characters, over all rows."""
    places: tuple[Place, ...]
    """The first rows."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        about = {"code": self.code.number, "name": self.code.name, "severity": self.severity, "rows": self.rows, "count": self.count}
        return {**about, "meaning": self.code.meaning, "fix": self.code.fix, "places": [asdict(place) for place in self.places]}


@dataclass(frozen=True, slots=True)
class KindTotal:
    """What one kind of token amounts to."""

    tokens: int
    trained: int
    """Tokens whose weight is not 0."""
    weight: float
    """Sum of their weights."""


@dataclass(frozen=True, slots=True)
class LintReport:
    """What lint found, worst first, and what the mask amounts to."""

    findings: tuple[LintFinding, ...]
    kinds: Mapping[str, KindTotal]
    """Of the kinds that occur."""
    rows: int
    """Rows that were looked at; under ``history: as-served``, replies."""

    @property
    def tokens(self) -> int:
        """Of all rows."""
        return sum(total.tokens for total in self.kinds.values())

    @property
    def trained(self) -> int:
        """Tokens that count."""
        return sum(total.trained for total in self.kinds.values())

    @property
    def weight(self) -> float:
        """Sum of all weights."""
        return sum(total.weight for total in self.kinds.values())

    def of(self, severity: Severity) -> tuple[LintFinding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    @property
    def errors(self) -> tuple[LintFinding, ...]:
        """What makes training meaningless, or teaches what is surely not meant."""
        return self.of("error")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the codes that were found, worst first."""
        return tuple(finding.code.name for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        kinds = {kind: asdict(total) for kind, total in self.kinds.items()}
        counts = {severity: len(self.of(severity)) for severity in SEVERITIES}
        return {"rows": self.rows, "found": counts, "findings": [finding.to_json() for finding in self.findings], "kinds": kinds}
