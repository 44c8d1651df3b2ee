"""Every bone and cartilage of the thorax, with its label and material, and the painter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.canvas import Canvas
from drrval.phantom.labels import RIB_LEFT, RIB_RIGHT, Label
from drrval.phantom.shapes import Shape
from drrval.phantom.shoulders import clavicle, humeral_head, humeral_shaft, scapula, shoulders
from drrval.phantom.skeleton_calcification import calcifications
from drrval.phantom.skeleton_ribs import cartilages, ribs, sternum
from drrval.phantom.skeleton_spine import arch, disc, vertebrae, vertebral_body
from drrval.phantom.skeleton_tables import skeleton_tables


@dataclass(frozen=True)
class Bone:
    """One bone: the union of its shapes, a cortical shell and what is inside.

    Attributes:
        shapes: whose union the bone is.
        label: in the label map.
        shell_hu: Hounsfield units of the shell.
        shell_mm: its thickness, 0 where all is alike (discs, cartilage).
        core_hu: Hounsfield units of cancellous bone or marrow inside.
    """

    shapes: Sequence[Shape]
    label: int
    shell_hu: float
    shell_mm: float
    core_hu: float


def _bone(anatomy: Anatomy, shapes: Sequence[Shape], label: int, material: str) -> Bone:
    entry = skeleton_tables()["cortex"][material]
    density = anatomy.bone_hu / skeleton_tables()["reference_bone_hu"]
    return Bone(
        shapes,
        label,
        shell_hu=entry["hu"] * density**0.25,
        shell_mm=entry["mm"] * density**0.35,
        core_hu=entry["marrow_fraction"] * anatomy.bone_hu,
    )


def _even(shapes: Sequence[Shape], label: int, hu: float) -> Bone:
    """Disc or cartilage: no shell."""
    return Bone(shapes, label, shell_hu=hu, shell_mm=0.0, core_hu=hu)


def bones(anatomy: Anatomy) -> Iterator[Bone]:
    """All bones and discs, in the order in which they are painted."""
    spine = vertebrae(anatomy)
    soft = skeleton_tables()["tissue_hu"]
    for vertebra in spine:
        yield _even([disc(vertebra)], Label.DISC, soft["disc"])
    for vertebra in spine:
        yield _bone(anatomy, arch(vertebra), Label.VERTEBRA, "arch")
        yield _bone(anatomy, [vertebral_body(vertebra)], Label.VERTEBRA, "vertebra")
    cage = ribs(anatomy)
    soft_ends = cartilages(anatomy, cage)
    for soft_end in soft_ends:
        yield _even([soft_end.bone], Label.CARTILAGE, soft["cartilage"])
    for rod in calcifications(anatomy, soft_ends):
        yield _even([rod], Label.CARTILAGE, soft["calcified"])
    for rib in cage:
        first = RIB_LEFT if rib.side > 0 else RIB_RIGHT
        yield _bone(anatomy, [rib.bone], first + rib.number, "rib")
    for part in sternum(anatomy):
        yield _bone(anatomy, [part], Label.STERNUM, "sternum")
    for place in shoulders(anatomy):
        left = place.side > 0
        yield _bone(anatomy, [clavicle(place)], Label.CLAVICLE_LEFT if left else Label.CLAVICLE_RIGHT, "clavicle")
        yield _bone(anatomy, scapula(place), Label.SCAPULA_LEFT if left else Label.SCAPULA_RIGHT, "scapula")
        humerus = Label.HUMERUS_LEFT if left else Label.HUMERUS_RIGHT
        yield _bone(anatomy, [humeral_shaft(place)], humerus, "shaft")
        yield _bone(anatomy, humeral_head(place), humerus, "humerus")


def paint_skeleton(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint all bones, discs and cartilages, with their labels, over what is there."""
    for bone in bones(anatomy):
        surface = canvas.distance(bone.shapes)
        canvas.paint(surface, bone.shell_hu, label=bone.label)
        if bone.shell_mm > 0.0:
            canvas.paint(surface.grown(-bone.shell_mm), bone.core_hu)
