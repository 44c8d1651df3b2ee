"""What the flags of a scored CT mean, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterable

from ct_models.plausibility import CUT_FLAGS, LEFT_OUT, MISSING_FLAGS
from drrval.stats.ct_scorers import DISAGREE_FLAG

CONTROL_FAILED, SEG_MISSING = "control_failed", "no_dicom_seg"

_CUT = "is cut by the edge of the scan, so its ratio would be that of a part. Give a scan of the whole chest"
_MISSING = "was not found, or only a piece of it (below 150 cm3, or a fifth of the other)"
_OTHER = "If the patient has one lung (pneumonectomy), read the ratio of the other side; if not, look at the picture"
_TURNED = (
    "so right and left may be swapped and have no ratio. Look at the picture, and mend the orientation in the file"
)

#: Meaning of each flag.
MEANINGS = {
    "right_lung_missing": f"The right lung {_MISSING}. {_OTHER}.",
    "left_lung_missing": f"The left lung {_MISSING}. {_OTHER}.",
    "right_lung_cut": f"The right lung {_CUT}.",
    "left_lung_cut": f"The left lung {_CUT}.",
    "lung_left_out": "A tenth or more of what is as dense as aerated lung lies outside the lungs that were found. "
    "Look at the picture: the scan may be cut, or no chest.",
    "upside_down": f"The hollow ends of the lungs (diaphragm) lie at the head, {_TURNED}.",
    "back_to_front": f"The spine lies in front of the lungs, {_TURNED}.",
    "lungs_joined": "No border between right and left lung was found, and they were parted at the midline: do not "
    "compare the sides.",
    "lung_volume_small": "Both lungs together hold less than 1000 cm3: a child, a scan in expiration, much collapsed "
    "lung, or lungs that were not found. Look at the picture.",
    "lungs_touch_first_slice": "The slice at the feet holds more than 10 cm2 of lung: the scan ends too high.",
    "lungs_touch_last_slice": "The slice at the head holds more than 10 cm2 of lung: the scan ends too low.",
    "lungs_touch_side": "More than 10 cm2 of lung lies in a side face of the scan: its field of view is too small.",
    DISAGREE_FLAG: "The ratio and the control's differ by more than 5 percentage points: look at the picture.",
    CONTROL_FAILED: "The control found no result, and the scan's score stands.",
    SEG_MISSING: "The headers of the series do not allow a DICOM segmentation; all else is written.",
}
_REFUSING = (*MISSING_FLAGS.values(), *CUT_FLAGS.values(), LEFT_OUT)


def why_incomplete(flags: Iterable[str]) -> str:
    """Why a scan has no ratio of both lungs."""
    reasons = [MEANINGS[flag] for flag in flags if flag in _REFUSING]
    return " ".join(["There is no ratio of both lungs.", *(reasons or ["The scorer gave none."])])
