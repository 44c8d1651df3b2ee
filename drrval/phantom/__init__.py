"""Virtual adults: a CT of the healthy chest with exact labels, drawn from a seed."""

from drrval.phantom.accessories import Accessories, random_accessories
from drrval.phantom.acquisition import PROTOCOLS, Protocol, acquire
from drrval.phantom.anatomy import Anatomy, random_anatomy
from drrval.phantom.labels import Label
from drrval.phantom.pose import Pose
from drrval.phantom.thorax import Thorax, make_thorax

__all__ = [
    "PROTOCOLS",
    "Accessories",
    "Anatomy",
    "Label",
    "Pose",
    "Protocol",
    "Thorax",
    "acquire",
    "make_thorax",
    "random_accessories",
    "random_anatomy",
]
