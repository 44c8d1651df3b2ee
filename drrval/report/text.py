"""Numbers and names as the report prints them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

MISSING = "n/a"


def number(value: Any, digits: int = 2) -> str:
    """A number with fixed decimals, ``n/a`` for None and NaN; a true minus sign, never ``-0``."""
    if value is None or value == MISSING or math.isnan(float(value)):
        return MISSING
    shown = f"{float(value):.{digits}f}"
    if float(shown) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", "\u2212")


def plain(value: Any) -> str:
    """Any value of a JSON file as a reader expects it: ``yes``, ``0.42``, ``1024, 1024``, ``n/a``."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "\u2212")
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key} {plain(item)}" for key, item in value.items())
    return str(value)


def p_text(p: float | None) -> str:
    """A p-value as journals print it: ``p < 0.001`` or ``p = 0.012``."""
    if p is None:
        return f"p {MISSING}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def ends_text(value: Mapping[str, Any], digits: int = 2) -> str:
    """Ends of a number's interval, with a space before: `` (0.88 to 0.97)``; empty without an interval."""
    if value["low"] is None or value["high"] is None:
        return ""
    return f" ({number(value['low'], digits)} to {number(value['high'], digits)})"


def interval_text(value: Mapping[str, Any], digits: int = 2) -> str:
    """A number with its interval: ``0.94 (0.88 to 0.97)``; ``n/a`` where it is not known."""
    if value["estimate"] is None:
        return MISSING
    return number(value["estimate"], digits) + ends_text(value, digits)


def accuracy_text(row: Mapping[str, Any]) -> str:
    """Trend accuracy with its count: ``0.87 (13 of 15)``."""
    if row["trend_accuracy"] is None:
        return MISSING
    agreeing = round(row["trend_accuracy"] * row["n_intervals"])
    return f"{number(row['trend_accuracy'])} ({agreeing} of {row['n_intervals']})"


def count(n: int, noun: str) -> str:
    """``1 scan``, ``2 scans``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def file_label(name: str) -> str:
    """A name made fit for a file name: all but letters, digits and ``.`` become ``-``."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "unnamed"


def subject_page(subject: str) -> str:
    """Relative address of a subject's page."""
    return quote(f"sub-{subject}.html")


def scan_link(subject: str, session: str) -> str:
    """Relative address of a scan's section on its subject's page."""
    return f"{subject_page(subject)}#{quote(f'ses-{session}')}"
