"""Smooth random fields, the raw material of blobs and opacities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.float32]


def smooth_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Field:
    """Standard normal noise on a coarse grid, enlarged bicubically: structures of about ``rows / cells`` pixels.

    Args:
        shape: (rows, cols).
        cells: grid cells along the rows; the columns keep the aspect ratio.
        rng: where the numbers come from.

    Returns:
        float32 ``[row, col]`` of mean 0 and standard deviation 1.
    """
    rows, cols = shape
    grid = rng.standard_normal((cells, max(2, round(cells * cols / rows)))).astype(np.float32)
    field = np.asarray(Image.fromarray(grid).resize((cols, rows), Image.Resampling.BICUBIC))
    spread = float(field.std())
    return ((field - field.mean()) / (spread or 1.0)).astype(np.float32)


def soft_ellipse(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float], angle: float, softness: float
) -> Field:
    """An ellipse that is 1 inside and falls smoothly to 0 across its edge.

    Args:
        shape: (rows, cols).
        centre: (row, col), pixels.
        radii: semi-axes, pixels.
        angle: of the first axis against the columns, radians.
        softness: width of the edge as a share of the radius, above 0.

    Returns:
        float32 ``[row, col]`` in 0-1.
    """
    row, col = np.ogrid[: shape[0], : shape[1]]
    y, x = row - centre[0], col - centre[1]
    along = (x * np.cos(angle) + y * np.sin(angle)) / radii[0]
    across = (y * np.cos(angle) - x * np.sin(angle)) / radii[1]
    distance = np.sqrt(along**2 + across**2)
    return np.clip((1.0 + softness / 2 - distance) / softness, 0.0, 1.0).astype(np.float32)
