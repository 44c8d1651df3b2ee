"""``drrval render CT --view PA --out FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import check_out_file, read_ct_with_notes, seed
from drrval.errors import StudyError

BACKENDS = ("auto", "separable", "virtual", "ray", "cuda", "deepdrr")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("render", help="render one CT as a radiograph")
    parser.add_argument("ct", type=Path, help="DICOM folder, NIfTI, NRRD or MHA file")
    parser.add_argument("--view", default="PA", help="PA (default), AP or LL (left lateral)")
    parser.add_argument("--preset", help="geometry preset (default: the view's own)")
    parser.add_argument(
        "--display", choices=("fixed", "minmax", "paper"), help="display rule of .png, .tif and .dcm (default: fixed)"
    )
    parser.add_argument("--backend", default="auto", choices=BACKENDS, help="projector (default: auto)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of the noise, a whole number from 0")
    parser.add_argument("--series-uid", help="DICOM series to take where a folder holds several")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="file: .png, .tif or .dcm (the displayed image, bone bright), or .nii.gz (the receptor's signal over the "
        "open beam, linear, bone dark)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from drrval.geometry import presets
    from drrval.positioning import VIEW_FLAGS
    from drrval.rendering import render
    from drrval.settings import DisplaySettings

    drr = render(
        read_ct_with_notes(arguments.ct, arguments.series_uid),
        arguments.view,
        preset=arguments.preset,
        display=DisplaySettings(rule=arguments.display or "fixed"),
        seed=arguments.seed,
        backend=arguments.backend,
    )
    drr.save(arguments.out)
    for flag in drr.flags:
        print(f"note: {flag}: {VIEW_FLAGS[flag]}")
    if warning := presets()[drr.geometry.preset].warning:
        print(f"note: {warning}")
    print(arguments.out)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot work before the CT is read."""
    from drrval.export import SIGNAL_SUFFIXES, SUFFIXES
    from drrval.geometry import view_geometry

    check_out_file(arguments.out, SUFFIXES)
    if arguments.display and arguments.out.name.lower().endswith(SIGNAL_SUFFIXES):
        raise StudyError(
            f"--display {arguments.display} plays no part in {arguments.out.name}, which holds the receptor's linear "
            "signal. Leave --display out, or write a .png, .tif or .dcm file."
        )
    view_geometry(arguments.view, preset=arguments.preset)
