"""What the voxels of a phantom's label map mean."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

RIGHT, LEFT = 1, 2  # labels of a lung map; 0 elsewhere
RIB_RIGHT, RIB_LEFT = 100, 120  # plus the rib's number, 1 to 12: 101 is the first right rib


class Label(IntEnum):
    """Organ of a voxel. Ribs are numbered from ``RIB_RIGHT`` and ``RIB_LEFT``; 0 is the air around the patient.

    Vessels and bronchi inside a lung belong to its lobe. Disease is never in this map, it has one of its own.
    """

    OUTSIDE = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BREAST = 4
    UPPER_LOBE_RIGHT = 10
    MIDDLE_LOBE_RIGHT = 11
    LOWER_LOBE_RIGHT = 12
    UPPER_LOBE_LEFT = 13
    LOWER_LOBE_LEFT = 14
    AIRWAY = 20  # trachea and main bronchi outside the lungs, with their wall
    OESOPHAGUS = 21
    MEDIASTINAL_FAT = 22
    HEART = 30
    AORTA = 31
    SUPERIOR_VENA_CAVA = 32
    PULMONARY_ARTERY = 33
    GREAT_VESSEL = 34  # branches of the arch, veins of the neck, inferior vena cava
    DIAPHRAGM = 40
    LIVER = 41
    SPLEEN = 42
    STOMACH = 43
    BOWEL_GAS = 44
    VERTEBRA = 60
    DISC = 61
    STERNUM = 62
    CARTILAGE = 63
    CLAVICLE_RIGHT = 64
    CLAVICLE_LEFT = 65
    SCAPULA_RIGHT = 66
    SCAPULA_LEFT = 67
    HUMERUS_RIGHT = 68
    HUMERUS_LEFT = 69
    TABLE = 200
    CLOTHING = 201
    LEAD = 202  # ECG leads and electrodes, tubes and lines


LOBES = (
    Label.UPPER_LOBE_RIGHT,
    Label.MIDDLE_LOBE_RIGHT,
    Label.LOWER_LOBE_RIGHT,
    Label.UPPER_LOBE_LEFT,
    Label.LOWER_LOBE_LEFT,
)


def lobes_of(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lobes alone, ``[z, y, x]``: 1 to 5 in the order of ``LOBES``, 0 elsewhere."""
    table = np.zeros(256, dtype=np.uint8)
    table[list(LOBES)] = np.arange(1, len(LOBES) + 1)
    return table[labels]


def lungs_of(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lungs alone, ``[z, y, x]``: ``RIGHT``, ``LEFT``, 0 elsewhere."""
    table = np.zeros(256, dtype=np.uint8)
    table[list(LOBES)] = [RIGHT, RIGHT, RIGHT, LEFT, LEFT]
    return table[labels]
