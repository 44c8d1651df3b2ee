"""Monte-Carlo photon transport through a voxelised patient: the reference for primary and scattered radiation."""

from drrval.physics.montecarlo.anti_scatter_grid import AntiScatterGrid
from drrval.physics.montecarlo.scene import Scene, scene_of
from drrval.physics.montecarlo.simulation import Simulation, simulate

__all__ = ["AntiScatterGrid", "Scene", "Simulation", "scene_of", "simulate"]
