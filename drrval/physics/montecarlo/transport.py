"""The photon histories, compiled: analogue transport by Woodcock (delta) tracking.

E. R. Woodcock et al., "Techniques used in the GEM code for Monte Carlo neutronics calculations in reactors and other
systems of complex geometry", ANL-7050 (1965) 557-579. A photon flies in steps drawn for the largest attenuation in
the volume, and at each stop interacts with the probability (local over largest attenuation); no voxel border is
computed. Electrons deposit their energy where they are set free.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from drrval.physics.montecarlo.anti_scatter_grid import transmission
from drrval.physics.montecarlo.cross_sections import COHERENT, ENERGY_STEP_KEV, PHOTOELECTRIC
from drrval.physics.montecarlo.random_stream import start_stream, uniform
from drrval.physics.montecarlo.scattering import compton, deflect, rayleigh

CUTOFF_KEV = 5.0  # below it a photon is absorbed on the spot: its range in tissue is less than 0.3 mm
PRIMARY, SINGLE, MULTIPLE, THROUGH_GRIDS = 0, 1, 2, 3
EMITTED, ON_PANEL, ESCAPED, DEPOSITED = 0, 1, 2, 3
TOTAL = 3  # after the photoelectric, coherent and incoherent coefficients


@njit(cache=True, parallel=True, nogil=True)
def follow(
    per_batch: int, seed: int, voxels: Any, panel: Any, beam: Any, tables: Any, grids: Any, counting: bool, images: Any,
    energy: Any,
) -> None:  # fmt: skip
    """Follow ``per_batch`` photons per batch; every batch has its own images, so threads do not matter.

    Args:
        per_batch: photons per batch.
        seed: of all random numbers.
        voxels: labels and densities ``[z, y, x]``, voxels per cm (3,) and box in cm (3,), ordered (x, y, z); all
            positions are counted from the outer corner of voxel ``[0, 0, 0]`` along the volume's axes.
        panel: source, centre, column axis, row axis, normal (each (3,), cm), (width, height) in cm and the SID in cm.
        beam: photon energies (keV) and their cumulative probability, ``[energy]``.
        tables: partial coefficients, largest linear attenuation ``[energy]`` (1/cm), form factors, binding.
        grids: as :func:`drrval.physics.montecarlo.anti_scatter_grid.grid_tables`.
        counting: score photons rather than their energy.
        images: float64 ``[batch, channel, row, col]``, added to: primary, single scatter, multiple scatter, then
            primary and scatter behind each grid.
        energy: float64 ``[batch, 3 + material]``, keV, added to: emitted, on the panel, escaped, deposited.
    """
    for batch in prange(images.shape[0]):
        state = np.empty(1, np.uint64)
        position, direction, hit = np.empty(3), np.empty(3), np.empty(2)
        local = np.empty((tables[0].shape[0], TOTAL + 1))
        for i in range(per_batch):
            start_stream(seed, batch * per_batch + i, state)
            _aim(panel, state, position, direction)
            kev = beam[0][min(np.searchsorted(beam[1], uniform(state)), beam[0].shape[0] - 1)]
            energy[batch, EMITTED] += kev
            order, kev = _travel(kev, voxels, panel, tables, state, position, direction, local, energy[batch])
            if kev <= 0.0:
                continue
            if not _meets_panel(panel, position, direction, hit):
                energy[batch, ESCAPED] += kev
                continue
            energy[batch, ON_PANEL] += kev
            _score(kev, order, 1.0 if counting else kev, hit, panel, grids, direction, state, images[batch])


@njit(cache=True, nogil=True)
def _aim(panel: Any, state: Any, position: Any, direction: Any) -> None:
    """Start at the source, evenly over the solid angle of the panel."""
    source, centre, column_axis, row_axis, _, size, sid = panel
    while True:
        u, v = (uniform(state) - 0.5) * size[0], (uniform(state) - 0.5) * size[1]
        for i in range(3):
            direction[i] = centre[i] + u * column_axis[i] + v * row_axis[i] - source[i]
        length = math.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
        # A point of the panel sees the solid angle cos^3 / SID^2 per area.
        if uniform(state) <= (sid / length) ** 3:
            break
    for i in range(3):
        position[i] = source[i]
        direction[i] /= length


@njit(cache=True, nogil=True)
def _travel(
    kev: float, voxels: Any, panel: Any, tables: Any, state: Any, position: Any, direction: Any, local: Any, energy: Any
) -> tuple[int, float]:
    """Carry a photon through the volume; its number of scatterings and its energy (0: absorbed)."""
    partial, majorant, form_factor_cdf, binding = tables
    order = 0
    if not _enter(voxels[3], position, direction):
        return order, kev
    while True:
        largest = _at_energy(kev, partial, majorant, local)
        m, drawn = _next_stop(largest, voxels, panel, state, position, direction, local)
        if m < 0:
            return order, kev
        if drawn < local[m, PHOTOELECTRIC]:
            energy[DEPOSITED + m] += kev
            return order, 0.0
        if drawn < local[m, PHOTOELECTRIC] + local[m, COHERENT]:
            cosine = rayleigh(kev, form_factor_cdf[m], state)
        else:
            left, cosine = compton(kev, binding[m], state)
            energy[DEPOSITED + m] += kev - left
            kev = left
            if kev < CUTOFF_KEV:
                energy[DEPOSITED + m] += kev
                return order, 0.0
        deflect(direction, cosine, 2.0 * math.pi * uniform(state))
        order += 1


@njit(cache=True, nogil=True)
def _at_energy(kev: float, partial: Any, majorant: Any, local: Any) -> float:
    """Fill ``local`` ``[material, 4]`` (three partial coefficients and their sum); the largest linear attenuation."""
    e = kev / ENERGY_STEP_KEV
    i = min(int(e), partial.shape[1] - 2)
    for m in range(partial.shape[0]):
        local[m, TOTAL] = 0.0
        for kind in range(TOTAL):
            local[m, kind] = partial[m, i, kind] + (e - i) * (partial[m, i + 1, kind] - partial[m, i, kind])
            local[m, TOTAL] += local[m, kind]
    # The larger neighbour bounds the interpolated attenuation of every voxel between the two energies.
    return max(majorant[i], majorant[i + 1])


@njit(cache=True, nogil=True)
def _next_stop(
    largest: float, voxels: Any, panel: Any, state: Any, position: Any, direction: Any, local: Any
) -> tuple[int, float]:
    """Fly to the next interaction: material of the voxel and a draw between 0 and its mass attenuation coefficient.

    Material -1: the photon has left the volume or passed the panel.
    """
    labels, density, per_cm, _ = voxels
    source, normal, sid = panel[0], panel[4], panel[6]
    x, y, z = position[0], position[1], position[2]
    dx, dy, dz = direction[0], direction[1], direction[2]
    nz, ny, nx = labels.shape
    to_panel = sid - (x - source[0]) * normal[0] - (y - source[1]) * normal[1] - (z - source[2]) * normal[2]
    along = dx * normal[0] + dy * normal[1] + dz * normal[2]
    free = 1.0 / largest
    m, drawn = -1, 0.0
    while True:
        step = -math.log(1.0 - uniform(state)) * free
        x += step * dx
        y += step * dy
        z += step * dz
        to_panel -= step * along
        if to_panel <= 0.0 or x < 0.0 or y < 0.0 or z < 0.0:
            break
        i, j, k = int(x * per_cm[0]), int(y * per_cm[1]), int(z * per_cm[2])
        if i >= nx or j >= ny or k >= nz:
            break
        label = labels[k, j, i]
        chance = uniform(state) * largest
        if chance < density[k, j, i] * local[label, TOTAL]:
            m, drawn = int(label), chance / density[k, j, i]
            break
    position[0], position[1], position[2] = x, y, z
    return m, drawn


@njit(cache=True, nogil=True)
def _enter(box: Any, position: Any, direction: Any) -> bool:
    """Move to where the ray enters the box; False where it misses it."""
    first, last = 0.0, np.inf
    for i in range(3):
        if abs(direction[i]) < 1e-12:
            if position[i] < 0.0 or position[i] >= box[i]:
                return False
            continue
        a, b = -position[i] / direction[i], (box[i] - position[i]) / direction[i]
        first, last = max(first, min(a, b)), min(last, max(a, b))
    if first >= last:
        return False
    for i in range(3):
        position[i] += first * direction[i]
    return True


@njit(cache=True, nogil=True)
def _meets_panel(panel: Any, position: Any, direction: Any, hit: Any) -> bool:
    """Whether a photon that has left the volume reaches the panel; ``hit`` gets (column, row) distance to its centre.

    A photon may have stepped through the panel plane within the volume: the distance to go back is then negative.
    """
    _, centre, column_axis, row_axis, normal, size, _ = panel
    along = normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]
    if along <= 0.0:
        return False
    ahead = 0.0
    for i in range(3):
        ahead += (centre[i] - position[i]) * normal[i]
    ahead /= along
    hit[0] = hit[1] = 0.0
    for i in range(3):
        offset = position[i] + ahead * direction[i] - centre[i]
        hit[0] += offset * column_axis[i]
        hit[1] += offset * row_axis[i]
    return abs(hit[0]) < size[0] / 2.0 and abs(hit[1]) < size[1] / 2.0


@njit(cache=True, nogil=True)
def _score(
    kev: float, order: int, signal: float, hit: Any, panel: Any, grids: Any, direction: Any, state: Any, image: Any
) -> None:
    source, centre, column_axis, _, normal, size, sid = panel
    row = int((hit[1] / size[1] + 0.5) * image.shape[1])
    column = int((hit[0] / size[0] + 0.5) * image.shape[2])
    image[min(order, MULTIPLE), row, column] += signal
    sizes, attenuation = grids
    if sizes.shape[0] == 0:
        return
    along = sideways = lean = 0.0
    for i in range(3):
        along += direction[i] * normal[i]
        sideways += direction[i] * column_axis[i]
        lean += (centre[i] - source[i]) * column_axis[i]
    slope = sideways / along - (lean + hit[0]) / sid if order > 0 else 0.0
    e = kev / ENERGY_STEP_KEV
    ie = min(int(e), attenuation.shape[1] - 2)
    start = uniform(state)
    for g in range(sizes.shape[0]):
        low, high = attenuation[g, ie], attenuation[g, ie + 1]
        lead = low[0] + (e - ie) * (high[0] - low[0])
        interspace = low[1] + (e - ie) * (high[1] - low[1])
        passed = signal * transmission(sizes[g], lead, interspace, slope, 1.0 / along, start)
        image[THROUGH_GRIDS + 2 * g + (1 if order > 0 else 0), row, column] += passed
