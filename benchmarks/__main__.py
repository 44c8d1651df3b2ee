"""Run the benchmark: ``python -m benchmarks [peers] [render] [scaling]``; all three by default.

Each section prints its tables, writes ``benchmarks/out/NAME.json`` and its parts of ``docs/benchmarks.md``.
``BENCH_CT=PATH`` names a chest CT to use instead of the demo scan.
"""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.machine import machine, sentence
from benchmarks.page import publish, save
from benchmarks.scan import scan_name

SECTIONS = {"peers": "comparison", "render": "rendering", "scaling": "scaling"}


def main(names: list[str]) -> int:
    """Measure the sections named."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        sys.stderr.write(f"Unknown sections {unknown}. Expected some of: {', '.join(SECTIONS)}.\n")
        return 2
    save("machine", machine())
    for name in names or SECTIONS:
        data, tables = import_module(f"benchmarks.{SECTIONS[name]}").measure()
        path = save(name, data)
        publish({part: f"{sentence()} Scan: {scan_name()}.\n\n{text}" for part, text in tables.items()})
        sys.stdout.write("\n\n".join([f"== {name}", *tables.values(), f"written to {path}", ""]))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
