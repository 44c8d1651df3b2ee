"""Intake: from CT files to a checked Hounsfield volume in canonical axes, and a report of what was found."""

from drrval.intake.discover import find_scans, input_digest, is_mask_name
from drrval.intake.read import check_ct, find_slices, read_ct
from drrval.intake.report import Finding, IntakeReport

__all__ = [
    "Finding",
    "IntakeReport",
    "check_ct",
    "find_scans",
    "find_slices",
    "input_digest",
    "is_mask_name",
    "read_ct",
]
