"""Courses of patients for the tests of trend statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from drrval.stats.courses import make_courses


def courses(*patients: tuple[list[float], list[float]], days: list[float] | None = None) -> pd.DataFrame:
    """Courses of patients given as (reference values, test values), one day apart unless days are given."""
    rows = [
        {"who": f"p{number}", "when": (days or list(range(len(reference))))[place], "ct": x, "cxr": y}
        for number, (reference, test) in enumerate(patients)
        for place, (x, y) in enumerate(zip(reference, test, strict=True))
    ]
    return make_courses(pd.DataFrame(rows), patient="who", time="when", reference="ct", test="cxr")


def random_courses(n_patients: int, n_times: int, seed: int = 0, noise: float = 5.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    x = 20 + 8 * generator.normal(size=(n_patients, 1)) + 6 * generator.normal(size=(n_patients, n_times))
    y = 2 + 0.9 * x + noise * generator.normal(size=x.shape)
    return courses(*[(list(a), list(b)) for a, b in zip(x, y, strict=True)])
