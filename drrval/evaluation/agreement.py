"""Agreement of a predicted column with a true one: numbers, scatter and Bland-Altman figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from drrval.evaluation.numbers import errors
from drrval.evaluation.task import Drawing, Numbers, Scored
from drrval.report.figures import PlottedScans, bland_altman_figure, regression_figure
from drrval.stats import PairedScans, least_squares, limits_of_agreement, proportional_bias
from drrval.stats.comparison import to_json
from drrval.stats.rank_correlation import rank_correlation

_LINE = ("pearson_r", "slope", "intercept", "r_squared", "p_value")


@dataclass(frozen=True)
class Pairing:
    """Two columns to compare.

    Attributes:
        test, reference: columns of the predictions.
        names: what reference and test are, for the axes.
        unit: of both, may be empty.
        comparable: whether both measure one quantity in one unit, so that their difference has a meaning.
    """

    test: str
    reference: str
    names: tuple[str, str]
    unit: str = ""
    comparable: bool = True


def agreement(scored: Scored, pairing: Pairing, kind: str) -> tuple[Numbers, Sequence[Drawing]]:
    """Compare two columns over the rows that have both.

    Returns:
        ``pearson_r, spearman_rho, slope, intercept, r_squared``, and of comparable columns ``mae, bias, lower_limit,
        upper_limit, r2_prediction``; figures ``scatter_KIND`` and of comparable ones ``bland_altman_KIND``. Nothing if
        no row has both.
    """
    table = scored.table.dropna(subset=[pairing.reference, pairing.test])
    if table.empty:
        return {}, ()
    scans = PairedScans.of(table[pairing.reference], table[pairing.test], table["patient"], pairing.names)
    line, ranks = least_squares(scans, **scored.how), rank_correlation(scans, **scored.how)
    numbers = {"pearson_r": line["pearson_r"], "spearman_rho": ranks["spearman_rho"]}
    numbers |= {name: line[name] for name in ("slope", "intercept", "r_squared")}
    plotted = _plotted(table, pairing, scored.label)
    row = {"n_scans": scans.n_scans, "n_patients": scans.patients.n_patients, **to_json({"regression": [line]})}
    row |= {name: line[name].estimate for name in _LINE}
    drawings = [Drawing(f"scatter_{kind}", lambda: regression_figure(plotted, row))]
    if pairing.comparable:
        limits, slope = limits_of_agreement(scans, **scored.how), proportional_bias(scans, **scored.how)
        row |= to_json({"agreement": [limits, slope]})
        lost = errors(scans, scored.how)
        numbers |= {"mae": lost["mae"], **{name: limits[name] for name in ("bias", "lower_limit", "upper_limit")}}
        numbers["r2_prediction"] = lost["r2_prediction"]
        drawings.append(Drawing(f"bland_altman_{kind}", lambda: bland_altman_figure(plotted, row)))
    return numbers, drawings


def _plotted(table: pd.DataFrame, pairing: Pairing, label: str) -> PlottedScans:
    courses: dict[str, Any] = {"patient": table["patient"].astype(str), "time": None, "days": float("nan")}
    courses |= {"reference": table[pairing.reference], "test": table[pairing.test]}
    return PlottedScans(
        pd.DataFrame(courses).reset_index(drop=True),
        f"{label}: {pairing.names[1]}",
        *pairing.names,
        short=("truth", label),
        quantity=pairing.names[1],
        unit=pairing.unit,
    )
