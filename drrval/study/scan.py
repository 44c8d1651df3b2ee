"""One scan of a study, from CT file to measurements, in a folder of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skimage.transform import resize

from ct_models.contract import CTScore
from cxr_models.contract import CXRScore
from drrval.body import body_mask
from drrval.errors import IntakeError, ScorerError
from drrval.intake import check_ct
from drrval.radiograph import Radiograph
from drrval.rendering import Patient, position, render
from drrval.report.overlays import ct_overview, drr_overlay
from drrval.simulation import truth_row
from drrval.simulation.files import write_ct
from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.fingerprint import noise_seed
from drrval.study.measurements import failed_measurement, measurement, to_tsv
from drrval.study.records import Record
from drrval.study.scan_loop import finish_scan
from drrval.study.scorer_cache import ct_scorer, cxr_scorer
from drrval.study.scorers import label_map, project_anatomy, score_ct, score_radiograph
from drrval.study.slices import slice_table
from drrval.study.store import write_picture, write_text, write_volume


def run_scan(scan: PlannedScan, study: Study, out: Path) -> tuple[Record, str]:
    """Score a scan, or take the finished result of an earlier run: see :func:`drrval.study.scan_loop.finish_scan`."""
    return finish_scan(scan, study, out, partial(_process, scan, study, out))


def _process(scan: PlannedScan, study: Study, out: Path, folder: Path, record: Record) -> None:
    """Fill the scan's folder and its record."""
    path = input_path(scan, out, record)
    ct, intake = check_ct(path, series_uid=scan.series_uid or None)
    record["intake"] = {**intake.to_dict(), "path": scan.source}
    record["date"] = date = scan.date or str(intake.facts.get("study_date") or "")
    if ct is None:
        broken = [f"rule {f.rule!r}: {f.message}" for f in intake.findings if f.outcome == "rejected"]
        raise IntakeError(f"{scan.source} was rejected by {'; '.join(broken)}")

    patient = position(ct, study.materials)
    scores: dict[str, CTScore] = {}
    for spec in study.scorers.ct:
        scores[spec.label] = score = score_ct(ct_scorer(spec), ct)
        record["measurements"].append(measurement(scan, date, "", spec.label, score, score.flags))
        record["flags"] = sorted({*record["flags"], *score.flags})
        stem = f"ct_{_file_name(spec.label)}"
        write_volume(folder / f"{stem}_labels.nii.gz", label_map(score), ct.grid)
        if score.slice_probability is not None:
            write_text(folder / f"{stem}_slices.tsv", to_tsv(slice_table(score, ct.grid)))
    reference = scores[study.scorers.reference_name]
    _draw_ct(patient, reference, study.scorers.reference_name, folder, record)
    for view in study.views:
        _process_view(scan, study, patient, reference, view, folder, record)
    record["intake"]["facts"] = {
        **record["intake"]["facts"],
        "isocentre_mm": [round(float(v), 3) for v in patient.centre_mm],
    }


def input_path(scan: PlannedScan, out: Path, record: Record) -> Path:
    """File or folder that holds the scan's CT; a virtual scan is made first and its truth noted in ``record``."""
    if scan.recipe is None:
        assert scan.path is not None  # a planned scan has a path or a recipe
        return scan.path
    virtual = scan.recipe.make()
    record["truth"] = truth_row(scan.recipe, virtual)
    path = out / scan.source
    write_ct(path, virtual.volume)
    return path


def _process_view(
    scan: PlannedScan,
    study: Study,
    patient: Patient,
    reference: CTScore,
    view: str,
    folder: Path,
    record: Record,
) -> None:
    seed = noise_seed(study.seed, scan.scan_id, view)
    drr = render(
        patient,
        view,
        preset=study.preset(view),
        spectrum=study.spectrum,
        scatter=study.scatter,
        detector=study.detector,
        display=study.display,
        seed=seed,
    )
    drr.save(folder / f"view-{view}_drr.png")
    if study.output.keep_area_density:
        # In steps of 1/8192 g/cm2, which halves the file and changes the signal by 3e-5.
        stepped = np.rint(drr.area_density * 8192) / 8192
        np.savez_compressed(folder / f"view-{view}_areadensity.npz", area_density=stepped.astype(np.float32))
    pictures = [
        {
            "file": f"view-{view}_drr.png",
            "caption": f"DRR, {view}, preset {drr.geometry.preset}, display {study.display.rule}",
        }
    ]
    projected = project_anatomy(reference, patient.ct.grid, drr)
    for spec in study.scorers.cxr:
        try:
            score = score_radiograph(cxr_scorer(spec), drr, projected)
        except ScorerError as error:  # the other scorers' results are kept
            record["measurements"].append(failed_measurement(scan, record["date"], spec.label, "CXR", view))
            record["message"] = f"{record['message']} {error}".strip()
            continue
        record["measurements"].append(
            measurement(scan, record["date"], view, spec.label, score, (*drr.flags, *score.flags))
        )
        picture = _draw_overlay(drr, score, spec.label, folder)
        if picture:
            pictures.append(picture)
    record["views"][view] = {
        "geometry": _geometry_record(drr),
        "seed": seed,
        "flags": list(drr.flags),
        "pictures": pictures,
    }


def _draw_ct(patient: Patient, score: CTScore, scorer: str, folder: Path, record: Record) -> None:
    sx, sy, sz = patient.ct.grid.spacing_mm
    body = body_mask(patient.ct, patient.body)
    write_picture(folder / "ct_overview.png", ct_overview(patient.ct.hu, (sz, sy, sx), score.lungs, score.lesion, body))
    caption = f"CT, lung window (-600/1500 HU), with the body mask, the lungs and the lesions of the scorer {scorer}"
    record["pictures"].append({"file": "ct_overview.png", "caption": caption})


def _draw_overlay(drr: Radiograph, score: CXRScore, scorer: str, folder: Path) -> dict[str, str] | None:
    if score.lung_mask is None and score.lesion_mask is None:
        return None
    masks = [_on_pixels(m, drr.geometry.shape) for m in (score.lung_mask, score.lesion_mask)]
    name = f"view-{drr.geometry.view}_{_file_name(scorer)}_overlay.png"
    write_picture(folder / name, drr_overlay(drr.image, *masks))
    return {
        "file": name,
        "caption": f"{scorer}: ratio {_percent(score.ratio_percent)} (lungs outlined, disease filled)",
    }


def _percent(ratio: float) -> str:
    return "n/a" if np.isnan(ratio) else f"{ratio:.1f} %"


def _on_pixels(mask: Any, shape: tuple[int, int]) -> Any:
    return mask if mask is None or mask.shape == shape else resize(mask, shape, order=0).astype(bool)


def _geometry_record(drr: Radiograph) -> Record:
    geometry = drr.geometry
    source_to_detector = np.subtract(geometry.detector_centre_mm, geometry.source_mm)
    return {
        "preset": geometry.preset,
        "sid_mm": round(geometry.sid_mm, 3),
        "pixel_mm": geometry.pixel_mm,
        "shape": list(geometry.shape),
        "anti_scatter_grid": geometry.anti_scatter_grid,
        "source_mm": [round(v, 3) for v in geometry.source_mm],
        "detector_centre_mm": [round(v, 3) for v in geometry.detector_centre_mm],
        "beam_direction_lps": [round(float(v), 6) for v in source_to_detector / np.linalg.norm(source_to_detector)],
    }


def _file_name(scorer: str) -> str:
    return "".join(c if c.isalnum() or c == "-" else "-" for c in scorer)
