"""A report for machines: SARIF 2.1.0, and annotations of GitHub's workflows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import maskkit
from maskkit.checks import LintFinding, LintReport, Place
from maskkit.checks.words import counted

_LINE = re.compile(r"^(?P<file>.+?):(?P<line>\d+)(?=,|$)")
_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}


def sarif(report: LintReport) -> dict[str, Any]:
    """A SARIF log: a rule for each code that was found, a result for each row that is named."""
    driver = {
        "name": "maskkit",
        "version": maskkit.__version__,
        "rules": [
            {
                "id": finding.code.number,
                "name": finding.code.name,
                "shortDescription": {"text": finding.code.meaning},
                "fullDescription": {"text": finding.code.why},
                "help": {"text": finding.code.fix},
                "defaultConfiguration": {"level": finding.code.severity},
            }
            for finding in report.findings
        ],
    }
    results = [_result(finding, place) for finding in report.findings for place in finding.places]
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _result(finding: LintFinding, place: Place) -> dict[str, Any]:
    text = f"{place.source}: {place.message} ({finding.code.meaning}; {counted(finding.rows, 'row')})"
    result: dict[str, Any] = {"ruleId": finding.code.number, "level": finding.severity, "message": {"text": text}}
    file, line = location(place)
    if file:
        where = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": line}}
        result["locations"] = [{"physicalLocation": where}]
    return result


def github(report: LintReport) -> Iterator[str]:
    """A workflow command for each row that is named."""
    for finding in report.findings:
        for place in finding.places:
            file, line = location(place)
            where = f"file={_property(file)},line={line}," if file else ""
            title = _property(f"{finding.code.number} {finding.code.name}")
            said = _data(f"{place.source}: {place.message} ({finding.code.meaning}). {finding.code.fix}")
            yield f"::{_GITHUB[finding.severity]} {where}title={title}::{said}"


def location(place: Place) -> tuple[str, int]:
    """File and line of a place; no file where it names none."""
    match = _LINE.match(place.source)
    return (match["file"], int(match["line"])) if match else ("", 0)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
