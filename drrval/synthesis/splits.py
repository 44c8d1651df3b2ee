"""Training, validation and test parts by patient, and the check that nothing leaks from one into another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from drrval.errors import StudyError
from drrval.materials import AIR_HU
from drrval.rendering import Patient
from drrval.synthesis.settings import SPLITS, SplitSettings

_CELLS = 24
_HU_RANGE = (-200.0, 500.0)  # fat to bone: disease and inspiration change the lungs, which all read as the low end


def assign_splits(chests: Sequence[tuple[str, ...]], settings: SplitSettings, seed: int) -> list[str]:
    """A part for each scan; scans that share anything that identifies their chest get the same.

    Groups of such scans are taken in an order drawn from the seed, each into the part that lacks most of its share.

    Args:
        chests: names that identify the chest of each scan: its patient, and files it is made from.
        settings: shares of the patients.
        seed: of the order.
    """
    groups = _groups(chests)
    order = sorted(set(groups), key=lambda g: hashlib.sha256(f"{seed}|{g}".encode()).digest())
    share = {split: float(getattr(settings, split)) for split in SPLITS}
    taken = dict.fromkeys(SPLITS, 0)
    part: dict[str, str] = {}
    for group in order:
        size = len({names[0] for names, g in zip(chests, groups, strict=True) if g == group})
        total = sum(taken.values()) + size
        split = max((s for s in SPLITS if share[s] > 0), key=lambda s: share[s] * total - taken[s])
        part[group] = split
        taken[split] += size
    return [part[g] for g in groups]


def chest_pattern(patient: Patient) -> npt.NDArray[np.float32]:
    """What tells chests apart, float32 (13824,), mean 0, norm 1: soft tissue and bone in 24 x 24 x 24 cells.

    The cells divide the box around the body over the slices that hold lung, so position and voxel size do not matter.
    """
    body = patient.body
    chest = body.chest_slices()
    z, y, x = np.nonzero(body.filled[chest])
    ends = [(v.min(), v.max()) for v in (z + chest.start, y, x)]
    hu = patient.ct.hu[:: body.stride[0], :: body.stride[1], :: body.stride[2]]
    values = np.clip(np.where(body.zones > 0, hu, AIR_HU), *_HU_RANGE)
    for axis, (first, last) in enumerate(ends):
        edges = np.linspace(first, last + 1, _CELLS + 1)
        starts = np.minimum(edges[:-1].astype(int), last)
        counts = np.maximum(np.diff([*starts, last + 1]), 1).reshape([-1 if a == axis else 1 for a in range(3)])
        values = np.add.reduceat(np.take(values, range(last + 1), axis=axis), starts, axis=axis) / counts
    pattern = values.ravel() - values.mean()
    return np.asarray(pattern / max(float(np.linalg.norm(pattern)), 1e-9), np.float32)


def check_leakage(
    parts: Mapping[str, str],
    patients: Mapping[str, str],
    patterns: Mapping[str, npt.NDArray[np.float32]],
    images: Mapping[str, Sequence[str]],
    twin_correlation: float,
) -> None:
    """Refuse a set in which a patient, a chest or an image is in two parts.

    Args:
        parts: part of each scan.
        patients: patient of each scan.
        patterns: :func:`chest_pattern` of each scan whose chest comes from files.
        images: SHA-256 of the images of each scan.
        twin_correlation: chests that correlate by more are taken for the same.

    Raises:
        StudyError: naming the scans that leak.
    """
    leaks = []
    for patient in sorted(set(patients.values())):
        found = {parts[scan] for scan, name in patients.items() if name == patient}
        if len(found) > 1:
            leaks.append(f"patient {patient} is in {' and '.join(sorted(found))}")
    first: dict[str, str] = {}
    for scan, hashes in images.items():
        for digest in hashes:
            other = first.setdefault(digest, scan)
            if parts[other] != parts[scan]:
                leaks.append(f"an image of {other} ({parts[other]}) is also one of {scan} ({parts[scan]})")
    leaks += _twins(parts, patterns, twin_correlation)
    if leaks:
        raise StudyError(
            "\n".join(
                [
                    f"The splits leak, {len(leaks)} time(s):",
                    *(f"  {leak}" for leak in dict.fromkeys(leaks)),
                    "Give scans of the same chest the same subject in one cohort; if two patients only look alike, "
                    f"raise split.twin_correlation (now {twin_correlation:g}).",
                ]
            )
        )


def _twins(
    parts: Mapping[str, str], patterns: Mapping[str, npt.NDArray[np.float32]], twin_correlation: float
) -> list[str]:
    scans = list(patterns)
    if not scans:
        return []
    stacked = np.stack([patterns[scan] for scan in scans])
    alike = np.argwhere(np.triu(stacked @ stacked.T > twin_correlation, 1))
    pairs = [(scans[i], scans[j]) for i, j in alike.tolist()]
    return [
        f"{a} ({parts[a]}) and {b} ({parts[b]}) show the same chest (correlation {patterns[a] @ patterns[b]:.4f})"
        for a, b in pairs
        if parts[a] != parts[b]
    ]


def _groups(chests: Sequence[tuple[str, ...]]) -> list[str]:
    """Name of the group of each scan: scans that share a name, directly or through others, have the same."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for names in chests:
        for name in names[1:]:
            one, other = sorted((find(names[0]), find(name)))
            leader[other] = one
    return [find(names[0]) for names in chests]
