"""Measure what ``docs/physics.md``, ``docs/statistics.md`` and ``docs/virtual-cohorts.md`` claim, and write it there.

``python -m validation [SECTION ...]``; all sections by default.

Each module of this package makes one section: ``report(images)`` measures, writes its figures into ``images`` and
returns Markdown. The text of the page is written by hand; what lies between ``<!-- measured: NAME -->`` and
``<!-- end: NAME -->`` is replaced.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.environments import MeasurementError

SECTIONS = (
    "projector",
    "peers",
    "spectrum",
    "detector",
    "scatter",
    "realism",
    "coverage",
    "gallery",
    "procedural",
    "cohort",
)
PAGES = {  # the others belong to physics.md
    "coverage": "statistics.md",
    **dict.fromkeys(("gallery", "procedural", "cohort"), "virtual-cohorts.md"),
}
FOLDERS = dict.fromkeys(("gallery", "procedural"), "virtual")  # of images; the others' are in "validation"
DOCS = Path(__file__).parents[1] / "docs"


def main(names: list[str]) -> int:
    """Write the sections named (all by default) into the page."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        sys.stderr.write(f"Unknown sections {unknown}. Expected some of: {', '.join(SECTIONS)}.\n")
        return 2
    for name in names or SECTIONS:
        images = DOCS / "images" / FOLDERS.get(name, "validation")
        images.mkdir(parents=True, exist_ok=True)
        page = DOCS / PAGES.get(name, "physics.md")
        try:
            measured = import_module(f"validation.{name}").report(images)
        except MeasurementError as error:  # what a section needs is not here: its part of the page stays as it was
            sys.stdout.write(f"{name}: not measured. {error}\n")
            continue
        page.write_text(replaced(page.read_text(encoding="utf-8"), name, measured), encoding="utf-8")
        sys.stdout.write(f"{name}: written to {page}\n")
    return 0


def replaced(page: str, name: str, measured: str) -> str:
    """The page with the section's measured part exchanged.

    Raises:
        ValueError: the page has no such section.
    """
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no part between {begin} and {end}. Add these two lines.")
    return pattern.sub(lambda _: f"{begin}\n\n{measured.strip()}\n\n{end}", page)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
