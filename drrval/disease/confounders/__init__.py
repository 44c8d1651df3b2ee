"""Findings that must not count as pneumonia, put into any chest CT that has lung masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from drrval.disease.confounders.atelectasis import AtelectasisSettings, add_atelectasis
from drrval.disease.confounders.confounded import FINDINGS, HU, Confounded, Finding, Labels
from drrval.disease.confounders.effusion import EffusionSettings, add_effusion
from drrval.disease.confounders.emphysema import EmphysemaSettings, add_emphysema
from drrval.disease.confounders.leads import LeadSettings, add_leads
from drrval.disease.confounders.nodules import NoduleSettings, add_nodules
from drrval.disease.confounders.tubes import TubeSettings, add_tubes
from drrval.errors import StudyError
from drrval.settings import Settings
from drrval.volume import Grid

__all__ = [
    "CONFOUNDERS",
    "FINDINGS",
    "AtelectasisSettings",
    "Confounded",
    "EffusionSettings",
    "EmphysemaSettings",
    "Finding",
    "LeadSettings",
    "NoduleSettings",
    "TubeSettings",
    "add_atelectasis",
    "add_confounders",
    "add_effusion",
    "add_emphysema",
    "add_leads",
    "add_nodules",
    "add_tubes",
]

CONFOUNDERS: dict[str, Callable[..., Confounded]] = {
    "emphysema": add_emphysema,  # in this order: air, lung, fluid, metal
    "nodules": add_nodules,
    "atelectasis": add_atelectasis,
    "effusion": add_effusion,
    "tubes": add_tubes,
    "leads": add_leads,
}


def add_confounders(
    hu: HU,
    grid: Grid,
    lungs: Labels,
    wanted: Iterable[str] | Mapping[str, Settings | None],
    seed: int,
) -> Confounded:
    """Put several findings into a CT, whose disease if any is in already.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        wanted: names of ``CONFOUNDERS``, or their settings by name (None: all drawn). Their order does not matter.
        seed: of what is drawn.

    Returns:
        the CT, the lungs that are left, and the findings. Where findings meet the last of ``CONFOUNDERS`` is labelled.
        For the truth of a CT with disease see :meth:`Confounded.kept`.

    Raises:
        StudyError: an unknown name, or settings that do not fit the CT.
    """
    settings: dict[str, Any] = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
    unknown = sorted(set(settings) - set(CONFOUNDERS))
    if unknown:
        raise StudyError(f"Unknown confounder {unknown}. Expected any of: {', '.join(CONFOUNDERS)}.")
    out = Confounded(hu, lungs, np.zeros(hu.shape, dtype=np.uint8))
    for name, add in CONFOUNDERS.items():
        if name in settings:
            added = add(out.hu, grid, out.lungs, settings[name], seed)
            out = replace(added, findings=np.where(added.findings > 0, added.findings, out.findings))
    return out
