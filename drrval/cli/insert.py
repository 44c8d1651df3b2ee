"""``drrval insert CT --out DIR``: put disease of known extent into a chest CT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from drrval.disease import Lesion
    from drrval.volume import CTVolume

_SUMMARY = ("lesion_cm3", "lung_cm3", "ratio_percent", "ratio_right_percent", "ratio_left_percent", "mean_rise_hu")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("insert", help="put pneumonia of known extent into a chest CT")
    parser.add_argument("ct", type=Path, help="DICOM folder, NIfTI, NRRD or MHA file")
    parser.add_argument(
        "--lungs", type=Path, help="lung mask: 1 right, 2 left, or one label for both (default: found in the CT)"
    )
    parser.add_argument("--lobes", type=Path, help="lobe mask: 1-5 right upper, middle, lower, left upper, lower")
    parser.add_argument("--pattern", choices=("covid", "lobar", "broncho"), help="how it spreads (default: covid)")
    parser.add_argument("--extent", type=float, help="volume of the lesions in percent of both lungs (default: 10)")
    parser.add_argument("--seed", type=int, help="of the lesions, a whole number from 0 (default: 0)")
    parser.add_argument("--lesions", type=Path, help="YAML file of the lesions, in place of a pattern")
    parser.add_argument("--series-uid", help="DICOM series to take where a folder holds several")
    parser.add_argument("--out", type=Path, required=True, help="folder for ct.nii.gz, lesions.nii.gz, truth.json")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.disease import disease_truth, insert_disease
    from drrval.disease.lesion_file import write_lesions
    from drrval.disease.masks import read_labels
    from drrval.intake import read_ct

    ct = read_ct(arguments.ct, series_uid=arguments.series_uid)
    lungs = _lungs(arguments, ct)
    lobes = read_labels(arguments.lobes, ct.grid, "lobe mask", 5) if arguments.lobes else None
    lesions = _lesions(arguments, ct, lungs, lobes)
    result = insert_disease(ct.hu, ct.grid, lungs, lesions, lobes=lobes)
    truth = disease_truth(lungs, result.lesions, ct.grid.voxel_volume_cm3, lobes=lobes, rise_hu=result.rise_hu)
    _write(arguments.out, ct, result.hu, lungs, result.lesions, truth)
    write_lesions(arguments.out / "lesions.yaml", lesions)
    for name in _SUMMARY:
        print(f"{name:22s} {truth[name]:.4g}")
    print(arguments.out)
    return 0


def _lungs(arguments: argparse.Namespace, ct: CTVolume) -> npt.NDArray[np.uint8]:
    from drrval.cli.common import log_on_screen
    from drrval.disease.masks import read_lungs
    from drrval.study.config import ScorerSpec
    from drrval.study.scorers import load_ct_scorer, score_ct

    if arguments.lungs:
        with log_on_screen():
            return read_lungs(arguments.lungs, ct)
    score = score_ct(load_ct_scorer(ScorerSpec(use="opacity")), ct)
    doubts = f" ({', '.join(score.flags)})" if score.flags else ""
    print(f"note: lungs found by the classical segmentation{doubts}; written to lungs.nii.gz, look at them")
    return score.lungs


def _lesions(
    arguments: argparse.Namespace, ct: CTVolume, lungs: npt.NDArray[np.uint8], lobes: npt.NDArray[np.uint8] | None
) -> tuple[Lesion, ...]:
    from drrval.disease import draw_lesions, fit_extent
    from drrval.disease.lesion_file import read_lesions
    from drrval.errors import StudyError

    drawn = {name: getattr(arguments, name) for name in ("pattern", "extent", "seed")}
    if arguments.lesions:
        if given := [f"--{name}" for name, value in drawn.items() if value is not None]:
            raise StudyError(
                f"--lesions says where the disease is; {', '.join(given)} would draw it. Give one of them."
            )
        return read_lesions(arguments.lesions)
    extent = 10.0 if arguments.extent is None else arguments.extent
    lesions = draw_lesions(arguments.pattern or "covid", arguments.seed or 0, extent)
    return fit_extent(lesions, ct.grid, lungs, extent, lobes=lobes)


def _write(
    folder: Path,
    ct: CTVolume,
    hu: npt.NDArray[np.float32],
    lungs: npt.NDArray[np.uint8],
    lesions: npt.NDArray[np.uint8],
    truth: dict[str, float],
) -> None:
    import math

    import numpy as np

    from drrval.study.store import write_json, write_volume

    folder.mkdir(parents=True, exist_ok=True)
    write_volume(folder / "ct.nii.gz", np.rint(hu).astype(np.int16), ct.grid)
    write_volume(folder / "lungs.nii.gz", lungs, ct.grid)
    write_volume(folder / "lesions.nii.gz", lesions, ct.grid)
    write_json(folder / "truth.json", {name: value if math.isfinite(value) else None for name, value in truth.items()})
