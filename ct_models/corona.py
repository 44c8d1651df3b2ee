"""Corona Score: slice classifier, Grad-CAM and intensity measure the pneumonia in a chest CT.

The way of Gozes et al. (2020, arXiv:2003.05037 and arXiv:2004.02640): lungs, a classifier of axial slices, Grad-CAM of
the positive ones refined to a fine map, and the volume of its voxels above a threshold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ct_models.contract import CTInput, CTScore
from ct_models.data.volumes import SPACING_MM
from ct_models.grid import axis_weights, resample, resample_slices, resampled_shape
from ct_models.measures import measured
from ct_models.morphology import Mask, Spacing, bounding_box
from ct_models.networks.slice_net import make_slice_net
from ct_models.neural_lungs import WEIGHTS, NeuralLungSegmenter
from ct_models.opacity import Segmenter
from ct_models.slice_reading import Reading, read_slices, scan_probability
from neural.store import load_settings, load_weights
from neural.training import pick_device, place

_MARGIN_MM = 12.0


class CoronaScorer:
    """Volume of pneumonia and its share of the lungs.

    Args:
        folder: store of the classifier's weights (:mod:`neural.store`).
        variant: ``ct-slices-light``, or ``ct-slices`` if the store has it.
        device: ``auto`` takes a GPU if there is one.
        lungs_folder: store of the lung network's weights.
        segment: lung segmenter, ``(hu, spacing_mm) -> LungSegmentation``, in whose labels diseased lung counts as lung;
            None takes :class:`ct_models.neural_lungs.NeuralLungSegmenter` with the weights in ``lungs_folder``.

    Attributes:
        weights_sha256: SHA-256 of the weights by name.

    Raises:
        KeyError: the store lacks the weights.
        ValueError: no such variant, or damaged weights.
    """

    name = "corona"

    def __init__(
        self,
        folder: Path | str = WEIGHTS,
        variant: str = "ct-slices-light",
        device: str = "auto",
        lungs_folder: Path | str = WEIGHTS,
        segment: Segmenter | None = None,
    ) -> None:
        self.network = make_slice_net(variant)
        self.weights_sha256 = {variant: load_weights(self.network, Path(folder), variant)}
        settings = load_settings(Path(folder), variant)
        self.slice_threshold = settings["slice_threshold"]
        self.lesion_threshold = settings["lesion_threshold"]
        place(self.network, pick_device(device)).eval()
        if segment is None:
            segment = NeuralLungSegmenter(lungs_folder, device=device)
            self.weights_sha256["ct-lungs-light"] = segment.sha256
        self.segment = segment

    def score(self, ct: CTInput) -> CTScore:
        """Score one CT.

        Raises:
            ValueError: no lungs were found.
        """
        lungs = self.segment(ct.hu, ct.spacing_mm)
        if not lungs.labels.any():
            raise ValueError(
                "no lungs found: the lung segmenter returned an empty mask. Check the scan or the segmenter."
            )
        box = _around(lungs.labels > 0, ct.spacing_mm)
        inside = lungs.labels[box] > 0
        reading = self.read(CTInput(ct.hu[box], ct.spacing_mm), inside)
        along = axis_weights(len(reading.slice_probability), SPACING_MM[0], len(inside), ct.spacing_mm[0])
        slices = np.zeros(ct.hu.shape[0], np.float32)
        slices[box[0]] = np.clip(along @ reading.slice_probability, 0.0, 1.0) * inside.any(axis=(1, 2))
        lesion = np.zeros(ct.hu.shape, bool)
        fine = resample_slices(reading.probability, SPACING_MM, inside.shape, ct.spacing_mm)
        for target, values, lung, p in zip(lesion[box], fine, inside, slices[box[0]], strict=True):
            if p >= self.slice_threshold:
                target[...] = (values >= self.lesion_threshold) & lung
        found = scan_probability(reading.slice_probability)
        return measured(ct, lungs, lesion, p_pneumonia=found, slice_probability=slices)

    def read(self, ct: CTInput, lungs: Mask) -> Reading:
        """Run the classifier on every slice with lung.

        Args:
            ct: the scan, or a part of it around the lungs.
            lungs: bool, of the same shape, not empty.
        """
        shape = resampled_shape(lungs.shape, ct.spacing_mm, SPACING_MM)
        hu = resample(ct.hu, ct.spacing_mm, shape, SPACING_MM)
        return read_slices(self.network, hu, resample(lungs, ct.spacing_mm, shape, SPACING_MM) > 0.5)


def _around(lungs: Mask, spacing_mm: Spacing) -> tuple[slice, ...]:
    """The lungs' bounding box with a margin, which neighbouring slices and the picture's border need."""
    margins = [int(np.ceil(_MARGIN_MM / step)) for step in spacing_mm]
    return tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(bounding_box(lungs), margins, strict=True))
