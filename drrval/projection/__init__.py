"""From voxel values to area densities: one pass over the volume, all materials at once."""

from drrval.projection.model import DensityModel
from drrval.projection.projector import BACKENDS, CPU_BACKENDS, project, project_labels

__all__ = ["BACKENDS", "CPU_BACKENDS", "DensityModel", "project", "project_labels"]
