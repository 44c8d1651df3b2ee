"""Labelled radiographs from CTs whose lungs and lesions are known: images, exact masks, boxes and truth."""

from drrval.synthesis.dataset import load_synthesis, synthesize
from drrval.synthesis.draw import Draw, draw_image
from drrval.synthesis.files import read_map, read_masks
from drrval.synthesis.image import LabelledRadiograph, make_image
from drrval.synthesis.masks import MASK_NAMES, Box, Labels
from drrval.synthesis.projections import PreparedScan, prepare
from drrval.synthesis.settings import SynthesisSettings
from drrval.synthesis.truth import area_ratios

__all__ = [
    "MASK_NAMES",
    "Box",
    "Draw",
    "LabelledRadiograph",
    "Labels",
    "PreparedScan",
    "SynthesisSettings",
    "area_ratios",
    "draw_image",
    "load_synthesis",
    "make_image",
    "prepare",
    "read_map",
    "read_masks",
    "synthesize",
]
