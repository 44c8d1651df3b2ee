"""The demo cohort's thorax phantom: simulated chest CT with pneumonia of exactly known extent."""

from drrval.phantom.anatomy import Anatomy, random_anatomy
from drrval.phantom.course import SimulatedScan, disease_course, simulate_cohort
from drrval.phantom.lesions import Lesion
from drrval.phantom.thorax import PhantomScan, make_thorax

__all__ = [
    "Anatomy",
    "Lesion",
    "PhantomScan",
    "SimulatedScan",
    "disease_course",
    "make_thorax",
    "random_anatomy",
    "simulate_cohort",
]
