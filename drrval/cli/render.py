"""``drrval render CT --view PA --out FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import seed


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("render", help="render one CT as a radiograph")
    parser.add_argument("ct", type=Path, help="DICOM folder, NIfTI, NRRD or MHA file")
    parser.add_argument("--view", default="PA", help="PA (default), AP or LL (left lateral)")
    parser.add_argument("--preset", help="geometry preset (default: the view's own)")
    parser.add_argument("--display", default="fixed", choices=("fixed", "minmax", "paper"), help="display rule")
    parser.add_argument("--backend", default="auto", help="projector: auto, separable, virtual, ray, cuda or deepdrr")
    parser.add_argument("--seed", type=seed, default=0, help="seed of the noise, a whole number from 0")
    parser.add_argument("--series-uid", help="DICOM series to take where a folder holds several")
    parser.add_argument("--out", type=Path, required=True, help="file: .png, .tif, .nii.gz or .dcm")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.geometry import presets
    from drrval.intake import read_ct
    from drrval.rendering import render
    from drrval.settings import DisplaySettings

    ct = read_ct(arguments.ct, series_uid=arguments.series_uid)
    drr = render(
        ct,
        arguments.view,
        preset=arguments.preset,
        display=DisplaySettings(rule=arguments.display),
        seed=arguments.seed,
        backend=arguments.backend,
    )
    drr.save(arguments.out)
    warning = presets()[drr.geometry.preset].warning
    for message in [*drr.flags, *([warning] if warning else [])]:
        print(f"note: {message}")
    print(arguments.out)
    return 0
