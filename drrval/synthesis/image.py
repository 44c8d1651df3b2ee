"""One labelled radiograph of a scan."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from drrval.display import quantised
from drrval.geometry import Geometry
from drrval.physics.detector import detect
from drrval.synthesis.devices import draw_devices, lung_frame
from drrval.synthesis.draw import Draw
from drrval.synthesis.markers import Stamp, draw_stamps
from drrval.synthesis.masks import Labels, label_view
from drrval.synthesis.processing import brightness
from drrval.synthesis.projections import PreparedScan, place, project_view
from drrval.synthesis.settings import SynthesisSettings

_BONE = 2  # index in drrval.materials.MATERIALS


@dataclass(frozen=True)
class LabelledRadiograph:
    """A radiograph and what is known of it.

    Attributes:
        image: uint16 ``[row, col]``, the displayed image; bone bright unless ``drawn.overlays.inverted``.
        image8: uint8 ``[row, col]``, the same in 8 bits, gone through JPEG where drawn so.
        labels: masks, maps and boxes on the same pixels.
        geometry: source and panel.
        drawn: all that was drawn for this image.
        stamps: markers and writing.
        devices: names of tubes and leads that were drawn in.
        flags: what the CT or the view leaves out; see :mod:`drrval.positioning`.
    """

    image: npt.NDArray[np.uint16]
    image8: npt.NDArray[np.uint8]
    labels: Labels
    geometry: Geometry
    drawn: Draw
    stamps: tuple[Stamp, ...]
    devices: tuple[str, ...]
    flags: tuple[str, ...]


def make_image(prepared: PreparedScan, drawn: Draw, settings: SynthesisSettings) -> LabelledRadiograph:
    """Take one radiograph of a scan.

    The order is that of nature: the beam passes the patient, tubes and leads; the receptor detects; the display
    enhances; borders, markers and writing are laid over; the image is compressed. Labels come from the same geometry.

    Raises:
        GeometryError: a source inside the volume.
    """
    taken = drawn.acquisition
    geometry = place(prepared, taken, settings.size, settings.acquisition.largest_field_mm)
    projected = project_view(prepared, geometry)
    shown = projected.field & _collimated(geometry.shape, drawn.overlays.collimation)
    labels = label_view(projected, shown, settings.labels)
    rng = np.random.default_rng([drawn.seed, 0xD0])
    lungs = labels.masks["lung_right"] | labels.masks["lung_left"]
    devices, names = draw_devices(
        lung_frame(lungs, geometry.pixel_mm), leads=drawn.overlays.leads, tubes=drawn.overlays.tubes, rng=rng
    )
    stamps = draw_stamps(drawn.overlays, taken.view, shown, geometry.pixel_mm, rng)
    projected.area_density[_BONE] += devices * projected.field
    signal = detect(
        projected.area_density,
        projected.field,
        geometry,
        spectrum=taken.spectrum,
        scatter=taken.scatter,
        detector=taken.detector,
        rng=np.random.default_rng([drawn.seed, 0x01]),
    )
    grey = brightness(signal, shown, drawn.processing, geometry.pixel_mm)
    for stamp in stamps:  # no photon passes lead, which so is as white as the display gets
        ink = stamp.on(geometry.shape)
        white = drawn.processing.top if stamp.lead else 1.0
        grey = grey + ink * np.maximum(white - grey, 0.0)
    if drawn.overlays.inverted:
        grey = 1.0 - grey
    image8 = np.asarray(quantised(grey, 8), np.uint8)
    if drawn.overlays.jpeg_quality:
        image8 = _through_jpeg(image8, drawn.overlays.jpeg_quality)
    image = np.asarray(quantised(grey, 16), np.uint16)
    return LabelledRadiograph(image, image8, labels, geometry, drawn, stamps, names, projected.flags)


def _collimated(shape: tuple[int, int], borders: tuple[float, float, float, float]) -> npt.NDArray[np.bool_]:
    """The part inside the borders (shares of the image at left, right, top and bottom), bool ``[row, col]``."""
    left, right, top, bottom = borders
    inside = np.zeros(shape, bool)
    rows, columns = shape
    inside[
        round(top * rows) : rows - round(bottom * rows), round(left * columns) : columns - round(right * columns)
    ] = 1
    return inside


def _through_jpeg(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    with io.BytesIO() as file:
        Picture.fromarray(image).save(file, "JPEG", quality=quality)
        with Picture.open(file) as decoded:
            return np.asarray(decoded)
