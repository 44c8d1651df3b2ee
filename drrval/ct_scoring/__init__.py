"""Scoring CT scans outside a study: tables, label maps, DICOM segmentations and pictures."""

from drrval.ct_scoring.run import score_cts

__all__ = ["score_cts"]
