"""The table of images: what is true of each, and how it was made."""

from __future__ import annotations

import datetime
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_models.severity import severity_score
from drrval.synthesis.anatomy import SIDES
from drrval.synthesis.image import LabelledRadiograph
from drrval.synthesis.scans import SourceScan

_PERCENT = "Units: %, 0-100."
COLUMNS: dict[str, str] = {
    "image": "File of the image (the first of the formats asked for), relative to this table.",
    "patient": "Patient in the whole set: number of the cohort and subject.",
    "cohort": "Number of the cohort in the settings, from 1.",
    "subject": "Subject in the cohort.",
    "session": "Scan of the subject.",
    "date": "Date of the scan, YYYY-MM-DD.",
    "day": "Days since the subject's first scan (truth.tsv of a simulated cohort counts from the onset of symptoms).",
    "split": "train, val or test; all images of a patient, and of a chest, are in one.",
    "view": "DICOM view position: PA, AP, LL (left lateral).",
    "label_source": "truth: labels made with the scan; files: given; scorer: found in the CT, so not exact.",
    "seed": "Seed of everything that was drawn for this image.",
    "rows": "Pixels from head to feet.",
    "columns": "Pixels across.",
    "pixel_mm": "Pixel pitch on the panel, mm.",
    "sid_mm": "Source to panel, mm.",
    "body_to_panel_mm": "Middle of the chest to the panel, mm.",
    "rotation_x_deg": "Turn of the beam about the patient's left-right axis, degrees.",
    "rotation_y_deg": "Turn about the front-back axis, degrees.",
    "rotation_z_deg": "Turn about the long axis, degrees.",
    "kvp": "Tube voltage, kV.",
    "filtration_mm_al": "Filtration, mm aluminium.",
    "grid_ratio": "Ratio of the anti-scatter grid; 0 without one.",
    "air_kerma_ugy": "Exposure of the panel in the open beam, uGy; decides the quantum noise.",
    "electronic_noise_photons": "Rms electronic noise, photons per pixel.",
    "style": "Enhancement of the display.",
    "marker": "R or L, where there is one.",
    "text": "Writing, where there is any.",
    "devices": "Tubes and leads drawn in, separated by ';'.",
    "jpeg_quality": "Of the 8-bit image; 0 without compression.",
    "inverted": "1 where bone is dark.",
    "ct_ratio_percent": f"Lesion volume over lung volume in the CT. {_PERCENT}",
    "ct_ratio_right_percent": f"The same, right lung. {_PERCENT}",
    "ct_ratio_left_percent": f"The same, left lung. {_PERCENT}",
    "lesion_cm3": "Lesion volume in the CT, cm3.",
    "ratio_percent": f"Pneumonia ratio (Amer et al., equation 2): lesion shadow over visible lung fields. {_PERCENT}",
    "ratio_right_percent": f"The same, right lung. {_PERCENT}",
    "ratio_left_percent": f"The same, left lung. {_PERCENT}",
    "whole_ratio_percent": f"Lesion shadow over the shadow of the whole lungs. {_PERCENT}",
    "whole_ratio_right_percent": f"The same, right lung. {_PERCENT}",
    "whole_ratio_left_percent": f"The same, left lung. {_PERCENT}",
    "score_0_8": "Severity: 0-4 for each visible lung field by the paper's rule, summed.",
    "boxes": "Number of lesion boxes; they are in boxes.csv.",
    "labels": "File of the masks, one bit each (see dataset.json).",
    "thickness": "File of the lesions' thickness.",
    "density": "File of the area density that lesions add.",
    "flags": "What the CT or the field leaves out, separated by ';'.",
}


def area_ratios(masks: dict[str, npt.NDArray[np.bool_]]) -> dict[str, float]:
    """Pneumonia ratios of the image plane, percent, from masks as :class:`drrval.synthesis.masks.Labels` holds them.

    Equation 2 of Amer et al.: 100 x area of the lesions' shadow in the lungs over area of the lungs; on visible lung
    fields (``ratio_...``) and on the shadows of the whole lungs (``whole_ratio_...``). NaN where no lung is seen.
    """
    result = {}
    for prefix, lung in (("", "lung_field"), ("whole_", "lung")):
        counts = {
            side: np.array([(masks[f"{lung}_{side}"] & masks[f"lesion_{side}"]).sum(), masks[f"{lung}_{side}"].sum()])
            for side in SIDES
        }
        for name, (sick, area) in {"": counts["right"] + counts["left"], **{f"{s}_": counts[s] for s in SIDES}}.items():
            result[f"{prefix}ratio_{name}percent"] = 100.0 * float(sick) / float(area) if area else float("nan")
    return result


def truth_row(source: SourceScan, made: LabelledRadiograph, scan_truth: dict[str, float]) -> dict[str, Any]:
    """One row of the table, JSON-ready, without split and files: numbers rounded, missing ones None."""
    drawn, planned = made.drawn, source.planned
    taken = {k: v for k, v in asdict(drawn.acquisition).items() if k in COLUMNS}
    turns = dict(
        zip(("rotation_x_deg", "rotation_y_deg", "rotation_z_deg"), drawn.acquisition.rotation_deg, strict=True)
    )
    ratios = area_ratios(made.labels.masks)
    marker = next((s.text for s in made.stamps if s.text in ("R", "L")), None)
    writing = next((s.text for s in made.stamps if s.text not in ("R", "L")), None)
    row = {
        "patient": source.patient,
        "cohort": source.cohort,
        "subject": planned.subject,
        "session": planned.session,
        "date": planned.date or None,
        "day": _days(source.first_date, planned.date),
        "label_source": source.label_source,
        "seed": drawn.seed,
        "rows": made.image.shape[0],
        "columns": made.image.shape[1],
        "pixel_mm": made.geometry.pixel_mm,
        **taken,
        **turns,
        "style": drawn.processing.style,
        "marker": marker,
        "text": writing,
        "devices": ";".join(made.devices) or None,
        "jpeg_quality": drawn.overlays.jpeg_quality,
        "inverted": int(drawn.overlays.inverted),
        **{f"ct_{name}": scan_truth[name] for name in ("ratio_percent", "ratio_right_percent", "ratio_left_percent")},
        "lesion_cm3": scan_truth["lesion_cm3"],
        **ratios,
        "score_0_8": severity_score(ratios["ratio_right_percent"], ratios["ratio_left_percent"]),
        "boxes": len(made.labels.boxes),
        "flags": ";".join(made.flags) or None,
    }
    return {name: _plain(row[name]) for name in COLUMNS if name in row}


def _days(first: str, date: str) -> int | None:
    if not first or not date:
        return None
    return (datetime.date.fromisoformat(date) - datetime.date.fromisoformat(first)).days


def _plain(value: Any) -> Any:
    """JSON-ready: numbers to 6 significant digits (integers whole), NaN as None."""
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.6g}")
    return value
