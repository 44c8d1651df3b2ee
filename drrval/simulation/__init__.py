"""Virtual cohorts: patients, procedural or real, whose pneumonia develops over days and is known voxel by voxel."""

from drrval.simulation.cohort import insert_cohort, simulate_cohort
from drrval.simulation.real_ct import RealScan
from drrval.simulation.recipes import InsertedScan, ProceduralScan, Recipe, truth_row
from drrval.simulation.scan import VirtualScan
from drrval.simulation.settings import CourseSettings, SimulateSettings

__all__ = [
    "CourseSettings",
    "InsertedScan",
    "ProceduralScan",
    "RealScan",
    "Recipe",
    "SimulateSettings",
    "VirtualScan",
    "insert_cohort",
    "simulate_cohort",
    "truth_row",
]
