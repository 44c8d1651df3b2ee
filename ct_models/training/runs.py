"""Whole training runs, described by settings that a YAML file can hold."""

from ct_models.training.run_lungs import LungRun, run_lungs
from ct_models.training.run_slices import SliceRun, run_slices

__all__ = ["LungRun", "SliceRun", "run_lungs", "run_slices"]
