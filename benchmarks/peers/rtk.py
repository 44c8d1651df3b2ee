"""RTK: ``JosephForwardProjectionImageFilter`` on the CPU."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import itk
from itk import RTK as rtk

from benchmarks.case import View, load_case, report
from benchmarks.measure import clocked, peak_mb, repeated, reset_peak


def main(folder: Path, view_name: str) -> None:
    """Measure one view of the case in ``folder``."""
    case = load_case(folder)
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(case.threads)
    image_type = itk.Image[itk.F, 3]
    projector = rtk.JosephForwardProjectionImageFilter[image_type, image_type].New()
    projector.InPlaceOff()  # else the first run uses up the empty stack
    projector.SetGeometry(_geometry(case.views[view_name]))
    projector.SetInput(0, _empty_stack(case.detector, case.pixel_mm))
    projector.SetInput(1, itk.imread(str(folder / "density.mha"), itk.F))

    def project() -> None:
        projector.Modified()
        projector.Update()

    project()
    reset_peak()
    report(
        folder,
        itk.array_view_from_image(projector.GetOutput())[0] / 10.0,  # g/cm3 mm to g/cm2
        tool="RTK",
        version=version("itk-rtk"),
        method="Joseph (JosephForwardProjectionImageFilter)",
        voxels="float32 g/cm3",
        materials=1,
        seconds=repeated(lambda: clocked(project)),
        peak_rss_mb=peak_mb(),
    )


def _geometry(view: View) -> itk.Object:
    """One projection; RTK's "row" vector is that along a row, hence of increasing column."""
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    positions = [itk.Point[itk.D, 3](p) for p in (view.source_mm, view.detector_centre_mm)]
    axes = [itk.Vector[itk.D, 3](a) for a in (view.column_axis, view.row_axis)]
    if not geometry.AddProjection(*positions, *axes):
        raise ValueError(f"RTK refuses the view {view}.")
    return geometry


def _empty_stack(detector: tuple[int, int], pixel_mm: float) -> itk.Object:
    rows, columns = detector
    source = rtk.ConstantImageSource[itk.Image[itk.F, 3]].New()
    source.SetSize([columns, rows, 1])
    source.SetSpacing([pixel_mm, pixel_mm, 1.0])
    source.SetOrigin([-(columns - 1) / 2 * pixel_mm, -(rows - 1) / 2 * pixel_mm, 0.0])
    source.SetConstant(0.0)
    source.Update()
    return source.GetOutput()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
