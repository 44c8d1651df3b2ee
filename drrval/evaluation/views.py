"""View positions of radiographs, as tables, files and users spell them, brought to DICOM's words."""

from __future__ import annotations

import re

_VIEWS = {
    "PA": "PA",
    "POSTEROANTERIOR": "PA",
    "POSTERIORANTERIOR": "PA",
    "AP": "AP",
    "ANTEROPOSTERIOR": "AP",
    "ANTERIORPOSTERIOR": "AP",
    "L": "LL",
    "LL": "LL",
    "LAT": "LL",
    "LATERAL": "LL",
    "LEFTLATERAL": "LL",
    "RL": "RL",
    "RIGHTLATERAL": "RL",
}
#: How the patient was placed, which a view position does not say, and words that only say that it is one.
_POSTURES = ("ERECT", "UPRIGHT", "STANDING", "SITTING", "SEMI", "SEMIERECT", "SEMIUPRIGHT", "SUPINE", "RECUMBENT")
_PLACES = ("PORTABLE", "MOBILE", "BEDSIDE", "CHEST", "VIEW", "PROJECTION")

KNOWN = "PA or AP, or one of them with the posture (AP Supine, PA erect)"
"""What a message tells the user to write."""


def view_position(text: str) -> str | None:
    """The DICOM view position (``PA``, ``AP``, ``LL``, ``RL``) that a text means.

    Capitals and punctuation do not matter; words of posture and place do not either: ``AP Supine``, ``ap portable`` and
    ``antero-posterior`` are ``AP``.

    Returns:
        The view position, empty for an empty text, or None for a text that is none of the known spellings.
    """
    words = re.sub(r"[^A-Z]+", " ", text.upper()).split()
    if not words:
        return None if text.strip() else ""
    return _VIEWS.get("".join(word for word in words if word not in (*_POSTURES, *_PLACES)))
