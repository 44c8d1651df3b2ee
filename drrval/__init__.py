"""drrval: CT-to-DRR validation of chest-radiograph models.

The public names are loaded on first use, so that ``import drrval`` stays fast and needs no optional package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "CTVolume": "drrval.volume",
    "Grid": "drrval.volume",
    "Geometry": "drrval.geometry",
    "Radiograph": "drrval.radiograph",
    "project": "drrval.projection",
    "read_ct": "drrval.intake",
    "render": "drrval.rendering",
    "view_geometry": "drrval.geometry",
}
__all__ = [
    "CTVolume",
    "Geometry",
    "Grid",
    "Radiograph",
    "__version__",
    "project",
    "read_ct",
    "render",
    "view_geometry",
]

if TYPE_CHECKING:
    from drrval.geometry import Geometry, view_geometry
    from drrval.intake import read_ct
    from drrval.projection import project
    from drrval.radiograph import Radiograph
    from drrval.rendering import render
    from drrval.volume import CTVolume, Grid


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'drrval' has no attribute {name!r}")
