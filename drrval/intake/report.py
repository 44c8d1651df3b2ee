"""What intake found out about one scan: findings per rule, facts, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from drrval.errors import IntakeError

Outcome = Literal["accepted", "repaired", "rejected", "note"]
Status = Literal["accepted", "repaired", "rejected"]

# Columns of the intake table, in this order; a fact that a file format does not state stays empty.
TABLE_FACTS = (
    "format",
    "modality",
    "series_uid",
    "study_date",
    "patient_position",
    "kvp",
    "kernel",
    "n_files",
    "n_slices",
    "shape",
    "spacing_mm",
    "hu_min",
    "hu_max",
    "scanned_fraction",
)


@dataclass(frozen=True)
class Finding:
    """One remark of one rule.

    Attributes:
        rule: short name of the rule, such as ``missing_slices``.
        outcome: ``accepted`` (looked suspicious, passed), ``repaired``, ``rejected`` or ``note``.
        message: what was found, and what was done or what the user can do.
    """

    rule: str
    outcome: Outcome
    message: str


@dataclass
class IntakeReport:
    """Findings and facts of one scan.

    Attributes:
        path: file or folder of the scan, as the caller gave it.
        findings: remarks in the order in which the rules ran; a rule that had nothing to say is absent.
        facts: plain JSON values (format, n_slices, shape ``[z, y, x]``, spacing_mm ``[x, y, z]``, kvp...).
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """``rejected`` if any rule rejected, else ``repaired`` if any repaired, else ``accepted``."""
        outcomes = {finding.outcome for finding in self.findings}
        if "rejected" in outcomes:
            return "rejected"
        return "repaired" if "repaired" in outcomes else "accepted"

    def add(self, rule: str, outcome: Outcome, message: str) -> None:
        """Append a finding."""
        self.findings.append(Finding(rule, outcome, message))

    def reject(self, rule: str, message: str) -> NoReturn:
        """Append a rejecting finding and stop.

        Raises:
            IntakeError: always; names the path, the rule and the message.
        """
        self.add(rule, "rejected", message)
        raise IntakeError(f"{self.path} was rejected by rule '{rule}': {message}")

    def to_row(self) -> dict[str, str | float]:
        """One row of the intake table: path, status, one column per fact, all findings joined by ``"; "``."""
        row: dict[str, str | float] = {"path": self.path, "status": self.status}
        for name in TABLE_FACTS:
            row[name] = _cell(self.facts.get(name))
        row["findings"] = "; ".join(f"{f.rule} ({f.outcome}): {f.message}" for f in self.findings)
        return row

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "path": self.path,
            "status": self.status,
            "findings": [vars(finding) for finding in self.findings],
            "facts": dict(self.facts),
        }


def _cell(value: Any) -> str | float:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " x ".join(f"{item:g}" for item in value)
    return value if isinstance(value, (int, float)) else str(value)
