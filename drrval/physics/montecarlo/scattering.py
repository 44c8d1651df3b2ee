"""Sampling of scattering angles and energies, compiled for the transport."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from drrval.physics.montecarlo.cross_sections import KEV_ANGSTROM, MOMENTUM_STEP
from drrval.physics.montecarlo.random_stream import uniform

ELECTRON_REST_KEV = 510.99895


@njit(cache=True, nogil=True)
def compton(energy: float, binding: Any, state: Any) -> tuple[float, float]:
    """Energy (keV) and cosine of the angle of an incoherently scattered photon.

    Klein-Nishina formula, sampled by composition and rejection (Butcher & Messel 1960,
    doi:10.1016/0029-5582(60)90162-0), times the incoherent scattering function by one more rejection. The motion of
    the bound electron (Doppler broadening) is left out.

    Args:
        energy: of the photon, keV.
        binding: incoherent scattering function over the number of electrons, at multiples of ``MOMENTUM_STEP``.
        state: random stream.
    """
    k = energy / ELECTRON_REST_KEV
    lowest = 1.0 / (1.0 + 2.0 * k)
    log_share = -math.log(lowest)
    square_share = 0.5 * (1.0 - lowest * lowest)
    while True:
        if uniform(state) * (log_share + square_share) < log_share:
            ratio = math.exp(-log_share * uniform(state))
        else:
            ratio = math.sqrt(lowest * lowest + (1.0 - lowest * lowest) * uniform(state))
        one_minus_cosine = (1.0 - ratio) / (k * ratio)
        sine2 = one_minus_cosine * (2.0 - one_minus_cosine)
        if uniform(state) > 1.0 - ratio * sine2 / (1.0 + ratio * ratio):
            continue
        x = energy / KEV_ANGSTROM * math.sqrt(max(0.5 * one_minus_cosine, 0.0))
        if uniform(state) <= _interpolated(binding, x / MOMENTUM_STEP):
            return energy * ratio, 1.0 - one_minus_cosine


@njit(cache=True, nogil=True)
def rayleigh(energy: float, form_factor_cdf: Any, state: Any) -> float:
    """Cosine of the angle of a coherently scattered photon: ``(1 + cos^2) F^2(x)``.

    x^2 is drawn from the squared form factor by inversion, the Thomson factor by rejection.

    Args:
        energy: of the photon, keV.
        form_factor_cdf: integral of the squared form factor over x^2, at multiples of ``MOMENTUM_STEP``.
        state: random stream.
    """
    highest = energy / KEV_ANGSTROM
    top = _interpolated_in_square(form_factor_cdf, highest)
    while True:
        target = uniform(state) * top
        i = max(int(np.searchsorted(form_factor_cdf, target)) - 1, 0)
        low, high = form_factor_cdf[i], form_factor_cdf[i + 1]
        share = (target - low) / (high - low) if high > low else 0.0
        x2 = MOMENTUM_STEP * MOMENTUM_STEP * (i * i + share * (2 * i + 1))
        cosine = max(1.0 - 2.0 * x2 / (highest * highest), -1.0)
        if 2.0 * uniform(state) <= 1.0 + cosine * cosine:
            return cosine


@njit(cache=True, nogil=True)
def deflect(direction: Any, cosine: float, azimuth: float) -> None:
    """Turn the unit vector ``direction`` (3,) in place by an angle and an azimuth (radians) about itself."""
    x, y, z = direction[0], direction[1], direction[2]
    sine = math.sqrt(max(1.0 - cosine * cosine, 0.0))
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    across = math.sqrt(x * x + y * y)
    if across < 1e-8:
        direction[0], direction[1], direction[2] = a, b, cosine * z
    else:
        direction[0] = x * cosine + (x * z * a - y * b) / across
        direction[1] = y * cosine + (y * z * a + x * b) / across
        direction[2] = z * cosine - across * a
    norm = math.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
    for i in range(3):
        direction[i] /= norm


@njit(cache=True, nogil=True, inline="always")
def _interpolated(table: Any, position: float) -> float:
    i = min(int(position), table.shape[0] - 2)
    return table[i] + (position - i) * (table[i + 1] - table[i])


@njit(cache=True, nogil=True, inline="always")
def _interpolated_in_square(table: Any, x: float) -> float:
    # The integral over x^2 of a function that is flat within a step is linear in x^2.
    i = min(int(x / MOMENTUM_STEP), table.shape[0] - 2)
    share = (x * x / (MOMENTUM_STEP * MOMENTUM_STEP) - i * i) / (2 * i + 1)
    return table[i] + share * (table[i + 1] - table[i])
