"""Heart, great vessels, oesophagus and central airways."""

from __future__ import annotations

from typing import Any

import numpy as np

from drrval.phantom.anatomy import Anatomy, reference, tissue_hu
from drrval.phantom.breath import Breath
from drrval.phantom.canvas import Canvas, Field
from drrval.phantom.labels import Label
from drrval.phantom.shapes import Capsule, Ellipsoid, Shape, tube

BLEND_MM = 7.0  # fillet between mediastinal organs, so that their outline is one smooth border
WALL_MM = 1.5  # of trachea and main bronchi
_PERICARDIAL_FAT_MM = 2.5  # of the reference adult, all around the heart


def heart(anatomy: Anatomy, breath: Breath) -> list[Ellipsoid]:
    """The chambers, outflow tract and left appendage as ellipsoids to be blended."""
    tables = reference()["heart"]
    size = anatomy.heart_width_mm / reference()["size"]["heart_width_mm"] * np.array([1.0, 0.95, 0.95])
    middle = np.asarray(tables["middle"], dtype=float)
    out = []
    for part in tables["chambers"].values():
        centre = anatomy.points(middle) + (np.asarray(part["centre"]) - middle) * size
        out.append(Ellipsoid(breath.points(centre), np.asarray(part["radii"]) * size, part["tilt_deg"]))
    return out


def fat_pads(anatomy: Anatomy, breath: Breath) -> list[Ellipsoid]:
    """Fat in the angles between heart and diaphragm."""
    size = anatomy.scale * np.clip(0.6 + 0.03 * anatomy.fat_mm, 0.6, 1.5)
    return [
        Ellipsoid(breath.points(anatomy.points(e["centre"])), np.asarray(e["radii"]) * size, e["tilt_deg"])
        for e in reference()["heart"]["fat_pads"]
    ]


def _window(anatomy: Anatomy, breath: Breath) -> Ellipsoid:
    """Fat between the aortic arch and the left pulmonary artery."""
    entry = reference()["aortopulmonary_window"]
    centre = breath.points(anatomy.points(entry["centre"]))
    return Ellipsoid(centre, np.asarray(entry["radii"]) * anatomy.scale, entry["tilt_deg"])


def great_vessels(anatomy: Anatomy, breath: Breath) -> dict[Label, list[Capsule]]:
    """Aorta, caval and azygos veins, pulmonary arteries and veins outside the lungs, by label."""
    out: dict[Label, list[Capsule]] = {}
    for name, entry in reference()["great_vessels"].items():
        points = np.asarray(entry["points"], dtype=float)
        if name == "aorta":
            points = points + anatomy.unfolding * np.asarray(entry["unfolding"])
        radii = np.asarray(entry["radii"]) * (anatomy.aorta_factor if name == "aorta" else _calibre(anatomy))
        out.setdefault(Label[entry["label"]], []).extend(tube(_placed(anatomy, breath, points), radii))
    return out


def oesophagus(anatomy: Anatomy, breath: Breath) -> list[Capsule]:
    """The oesophagus down to the stomach."""
    entry = reference()["oesophagus"]
    return tube(_placed(anatomy, breath, entry["points"]), np.asarray(entry["radii"], dtype=float))


def airways(anatomy: Anatomy, breath: Breath, *, extra_mm: float = 0.0) -> list[Capsule]:
    """Lumen of the trachea and the main and lobar bronchi, ``extra_mm`` wider."""
    out: list[Capsule] = []
    for entry in reference()["airways"].values():
        radii = np.asarray(entry["radii"]) * _calibre(anatomy) + extra_mm
        out += tube(_placed(anatomy, breath, entry["points"]), radii)
    return out


def _calibre(anatomy: Anatomy) -> float:
    return float(np.cbrt(np.prod(anatomy.scale)))


def _placed(anatomy: Anatomy, breath: Breath, points: Any) -> Any:
    return breath.points(anatomy.points(points))


def mediastinal_outline(canvas: Canvas, anatomy: Anatomy, breath: Breath) -> Field:
    """All that keeps the lungs apart, its parts joined with fillets."""
    z, radius = np.asarray(reference()["spine"]["radii"], dtype=float).T
    z = z * anatomy.scale[2]
    spine = tube(
        np.column_stack([anatomy.spine_x(z), anatomy.spine_y(z), z]), radius * np.sqrt(np.prod(anatomy.scale[:2]))
    )
    fat = np.clip(anatomy.fat_mm / 12.0, 0.5, 2.0) * _PERICARDIAL_FAT_MM
    wrapped = [Ellipsoid(e.centre, np.asarray(e.radii) + fat, e.tilt_deg) for e in heart(anatomy, breath)]
    vessels = [c for group in great_vessels(anatomy, breath).values() for c in group]
    organs: list[Shape] = [
        anatomy.loft("mediastinum"),
        *wrapped,
        *fat_pads(anatomy, breath),
        _window(anatomy, breath),
        *vessels,
        *oesophagus(anatomy, breath),
        *airways(anatomy, breath, extra_mm=WALL_MM),
        *spine,
    ]
    return canvas.distance(organs, blend_mm=BLEND_MM)


def paint_mediastinum(canvas: Canvas, anatomy: Anatomy, breath: Breath, chest: Field) -> None:
    """Paint heart, vessels and oesophagus.

    Args:
        canvas: to paint on.
        anatomy, breath: whose mediastinum.
        chest: inside of the rib cage above the diaphragm; nothing but the caval vein, aorta and oesophagus leaves it.
    """
    hu = tissue_hu()
    body = canvas.distance(heart(anatomy, breath), blend_mm=BLEND_MM).inside(chest)
    canvas.paint(body, hu["heart"], label=Label.HEART)
    for label, capsules in great_vessels(anatomy, breath).items():
        canvas.paint(capsules, hu["blood"], label=label)
    canvas.paint(oesophagus(anatomy, breath), hu["oesophagus"], label=Label.OESOPHAGUS)


def paint_airways(canvas: Canvas, anatomy: Anatomy, breath: Breath) -> None:
    """Paint wall and lumen of trachea and main bronchi; inside the lungs only their densities, not the label."""
    hu = tissue_hu()
    lumen = canvas.distance(airways(anatomy, breath))
    kept = canvas.labels[lumen.box].copy()
    canvas.paint(lumen.grown(WALL_MM), hu["bronchial_wall"], label=Label.AIRWAY)
    canvas.paint(lumen, hu["airway"], label=Label.AIRWAY)
    lobes = (kept >= Label.UPPER_LOBE_RIGHT) & (kept <= Label.LOWER_LOBE_LEFT)
    np.copyto(canvas.labels[lumen.box], kept, where=lobes)
