"""``drrval insert CT --out DIR``: put disease of known extent into a chest CT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drrval.cli.common import check_out_folder, log_on_screen, read_ct_with_notes, seed
from drrval.errors import StudyError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from drrval.disease import Inserted, Lesion
    from drrval.volume import CTVolume

_LESIONS, _TRUTH = "lesions.yaml", "truth.json"
_FILES = {"ct.nii.gz", "lungs.nii.gz", "lesions.nii.gz", _LESIONS, _TRUTH}
_LARGEST_EXTENT = 90.0  # percent of the lungs, as drrval.disease.draw_lesions takes it
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
    parser.add_argument(
        "--extent",
        type=_extent,
        help="volume of the lesions in percent of both lungs, above 0 and up to 90 (default: 10)",
    )
    parser.add_argument("--seed", type=seed, help="of the lesions, a whole number from 0 (default: 0)")
    parser.add_argument("--lesions", type=Path, help="YAML file of the lesions, in place of a pattern")
    parser.add_argument("--series-uid", help="DICOM series to take where a folder holds several")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for ct.nii.gz, lesions.nii.gz, truth.json: new, empty, or of an earlier insert",
    )
    parser.set_defaults(run=_run)


def _extent(text: str) -> float:
    """A share of the lungs in percent, for argparse."""
    value = float(text)
    if not 0.0 < value <= _LARGEST_EXTENT:
        raise argparse.ArgumentTypeError(f"{value:g} does not lie above 0 and up to {_LARGEST_EXTENT:g} percent")
    return value


def _run(arguments: argparse.Namespace) -> int:
    from drrval.disease import disease_truth, insert_disease
    from drrval.disease.masks import read_labels

    _check_out(arguments)
    given = _given_lesions(arguments)
    ct = read_ct_with_notes(arguments.ct, arguments.series_uid)
    lungs = _lungs(arguments, ct)
    lobes = read_labels(arguments.lobes, ct.grid, "lobe mask", 5) if arguments.lobes else None
    lesions = _drawn_lesions(arguments, ct, lungs, lobes) if given is None else given
    result = insert_disease(ct.hu, ct.grid, lungs, lesions, lobes=lobes)
    truth = disease_truth(lungs, result.lesions, ct.grid.voxel_volume_cm3, lobes=lobes, rise_hu=result.rise_hu)
    _write(arguments.out, ct, lungs, lesions, result, truth)
    if not arguments.lungs:
        print(f"note: look at the lungs that were found: {arguments.out / 'lungs.nii.gz'}")
    for name in _SUMMARY:
        print(f"{name:22s} {truth[name]:.4g}")
    print(arguments.out)
    return 0


def _check_out(arguments: argparse.Namespace) -> None:
    """Refuse an output folder that cannot be written, that holds other files, or the CT itself."""
    out: Path = arguments.out
    check_out_folder(out)
    held = {path.name for path in out.iterdir()} if out.exists() else set()
    if held and not {_LESIONS, _TRUTH} <= held <= _FILES:
        foreign = sorted(held - _FILES) or sorted(held)
        raise StudyError(
            f"The output folder {out} holds files that are not of an earlier drrval insert, such as {foreign[0]}. Give "
            "a new or empty folder with --out."
        )
    inputs = (arguments.ct, arguments.lungs, arguments.lobes)
    if taken := [path for path in inputs if path and out.resolve() in (path.resolve(), *path.resolve().parents)]:
        raise StudyError(
            f"{taken[0]} lies in the output folder {out} and might be lost. Give another folder with --out."
        )


def _lungs(arguments: argparse.Namespace, ct: CTVolume) -> npt.NDArray[np.uint8]:
    from drrval.disease.masks import read_lungs
    from drrval.study.config import ScorerSpec
    from drrval.study.scorers import load_ct_scorer, score_ct

    if arguments.lungs:
        with log_on_screen():
            return read_lungs(arguments.lungs, ct)
    score = score_ct(load_ct_scorer(ScorerSpec(use="opacity")), ct)
    doubts = f" ({', '.join(score.flags)})" if score.flags else ""
    print(f"note: lungs found by the classical segmentation{doubts}")
    return score.lungs


def _given_lesions(arguments: argparse.Namespace) -> tuple[Lesion, ...] | None:
    """Those of ``--lesions``, or None where they are to be drawn."""
    from drrval.disease.lesion_file import read_lesions

    if not arguments.lesions:
        return None
    drawn = {name: getattr(arguments, name) for name in ("pattern", "extent", "seed")}
    if given := [f"--{name}" for name, value in drawn.items() if value is not None]:
        raise StudyError(f"--lesions says where the disease is; {', '.join(given)} would draw it. Give one of them.")
    return read_lesions(arguments.lesions)


def _drawn_lesions(
    arguments: argparse.Namespace, ct: CTVolume, lungs: npt.NDArray[np.uint8], lobes: npt.NDArray[np.uint8] | None
) -> tuple[Lesion, ...]:
    from drrval.disease import draw_lesions, fit_extent
    from drrval.disease.masks import lobes_present

    extent = arguments.extent or 10.0
    present = lobes_present(lungs, lobes)
    lesions = draw_lesions(arguments.pattern or "covid", arguments.seed or 0, extent, lobes=present)
    return fit_extent(lesions, ct.grid, lungs, extent, lobes=lobes)


def _write(
    folder: Path,
    ct: CTVolume,
    lungs: npt.NDArray[np.uint8],
    lesions: tuple[Lesion, ...],
    result: Inserted,
    truth: dict[str, float],
) -> None:
    import math

    import numpy as np

    from drrval.disease.lesion_file import write_lesions
    from drrval.study.store import write_json, write_volume

    folder.mkdir(parents=True, exist_ok=True)
    write_volume(folder / "ct.nii.gz", np.rint(result.hu).astype(np.int16), ct.grid)
    write_volume(folder / "lungs.nii.gz", lungs, ct.grid)
    write_volume(folder / "lesions.nii.gz", result.lesions, ct.grid)
    write_json(folder / _TRUTH, {name: value if math.isfinite(value) else None for name, value in truth.items()})
    write_lesions(folder / _LESIONS, lesions)
