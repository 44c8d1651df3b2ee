"""Abnormal radiographs made from normal ones: pneumonia-like opacities implanted into the lungs.

The paper's section IV-A and XLSor (Tang et al. 2019, MIDL, arXiv:1904.09229) translate a normal radiograph into
abnormal ones with a generative network (MUNIT) and keep the normal image's lung masks. Here there is no generative
network: the opacity is a random texture placed inside the lung masks by rules. What it keeps of theirs: any number of
abnormal images per normal one, and lung masks that stay exact under the opacity. What it lacks: the look learnt from
real disease, changes outside the lungs (lines, effusions, habitus), and volume loss. What it adds: the lesion itself is
known, pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cxr_models.augment.fields import smooth_noise
from cxr_models.augment.intensity import check_unit_range

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: An opacity that hides less of the lung's contrast than this is not called a lesion.
_VISIBLE = 0.12


@dataclass(frozen=True)
class Abnormal:
    """A radiograph with implanted opacities.

    Attributes:
        image: float32 ``[row, col]``, 0-1.
        opacity: float32 ``[row, col]``, 0 (clear) to 1 (as bright as soft tissue).
        lesion: bool ``[row, col]``, where the opacity is at least 0.12.
    """

    image: Image
    opacity: Image
    lesion: Mask


def abnormal_from_normal(
    image: Image, lung_right: Mask, lung_left: Mask, rng: np.random.Generator, extent: float | None = None
) -> Abnormal:
    """Implant ground-glass and consolidation-like opacities into the lungs of a normal radiograph.

    Lesions cover a random share of each lung, favour the base and the periphery as COVID-19 pneumonia does on
    radiographs (Wong et al. 2020, 10.1148/radiol.2020201160), and range from a faint veil to as bright as the soft
    tissue around the lungs, with mottled or reticular texture and soft edges.

    Args:
        image: float32 ``[row, col]``, 0-1, bone bright.
        lung_right, lung_left: bool ``[row, col]``; either may be empty.
        rng: where the numbers come from.
        extent: share of either lung that the opacities' footprint covers, about, 0-1; 0 implants none. None draws it
            from 0.05 to 0.95 for each image, varies it from lung to lung, and leaves one lung clear in one of four.
            ``lesion`` is the visible part of the footprint, and so smaller.

    Returns:
        The abnormal image with its truth. The lesion never leaves the lungs.

    Raises:
        ValueError: an image outside 0-1, an extent outside 0-1, or no lung at all.
    """
    check_unit_range(image)
    if extent is not None and not 0.0 <= extent <= 1.0:
        raise ValueError(f"extent={extent:g} is a share of the lungs and must be within 0-1.")
    lungs = [lung for lung in (lung_right, lung_left) if lung.any()]
    if not lungs:
        raise ValueError("Both lung masks are empty: abnormal_from_normal needs lungs to implant into.")
    if extent is not None:
        shares = [extent] * len(lungs)
    else:
        if len(lungs) == 2 and rng.random() < 0.25:
            lungs = [lungs[int(rng.integers(2))]]
        shares = np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.1, len(lungs)), 0.0, 1.0).tolist()
    style = _Style.draw(rng)
    opacity = np.zeros(image.shape, dtype=np.float32)
    for lung, share in zip(lungs, shares, strict=True):
        opacity = np.maximum(opacity, _lung_opacity(lung, share, style, rng))
    tissue = _soft_tissue_level(image, lung_right | lung_left)
    texture = 1.0 + 0.06 * smooth_noise(image.shape, 40, rng)
    target = np.maximum(image, tissue * texture)
    out = np.clip(image + opacity * (target - image), 0.0, 1.0)
    return Abnormal(out.astype(np.float32), opacity, opacity >= _VISIBLE)


@dataclass(frozen=True)
class _Style:
    """One patient's disease: density, size of foci, edge, and where it likes to sit."""

    density: float
    focus_cells: int
    edge: float
    basal: float
    peripheral: float
    reticular: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Style:
        return cls(
            density=rng.uniform(0.25, 1.0),
            focus_cells=int(rng.integers(4, 14)),
            edge=rng.uniform(0.4, 1.6),
            basal=rng.uniform(-0.3, 1.5),
            peripheral=rng.uniform(-0.3, 1.2),
            reticular=rng.uniform(0.0, 0.5),
        )


def _lung_opacity(lung: Mask, share: float, style: _Style, rng: np.random.Generator) -> Image:
    """Opacity inside one lung that covers about ``share`` of it."""
    opacity = np.zeros(lung.shape, dtype=np.float32)
    rows, cols = (slice(s.start, s.stop) for s in ndimage.find_objects(lung.astype(np.uint8))[0])
    box = lung[rows, cols]
    depth = ndimage.distance_transform_edt(np.pad(box, 1))[1:-1, 1:-1]
    height = np.linspace(-1.0, 1.0, box.shape[0], dtype=np.float32)[:, None]
    likely = (
        smooth_noise(box.shape, style.focus_cells, rng)
        + style.basal * height
        + style.peripheral * (1.0 - 2.0 * depth / max(float(depth.max()), 1.0))
    )
    if share <= 0.0:
        return opacity
    threshold = np.quantile(likely[box], 1.0 - share)
    veil = np.clip((likely - threshold) / style.edge + 0.2, 0.0, 1.0)
    mottle = 1.0 + 0.25 * smooth_noise(box.shape, 24, rng)
    net = 1.0 - style.reticular * np.exp(-np.abs(smooth_noise(box.shape, 60, rng)) * 3.0)
    rim = np.clip(depth / (0.01 * lung.shape[0] + 1.0), 0.0, 1.0)
    opacity[rows, cols] = np.clip(veil * mottle * net * style.density * rim, 0.0, 1.0) * box
    return opacity


def _soft_tissue_level(image: Image, lungs: Mask) -> float:
    """Grey value of the soft tissue close to the lungs: the median of a ring around them."""
    reach = max(2, image.shape[0] // 25)
    ring = ndimage.binary_dilation(lungs, iterations=reach) & ~ndimage.binary_dilation(lungs, iterations=2)
    return float(np.median(image[ring])) if ring.any() else float(np.quantile(image, 0.8))
