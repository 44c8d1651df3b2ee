"""Models of other makers as radiograph scorers: TorchScript and ONNX files, torchxrayvision, any Python callable.

Every adapter takes the same description of the model, :class:`cxr_models.adapters.options.ModelOptions`: what image it
wants (value range, polarity, size, channels) and what it gives (a probability, a localisation map, or both). The lungs
come from ``lsnet-light``, so that the pneumonia ratio means the same for every model.
"""

from cxr_models.adapters.callable import CallableScorer
from cxr_models.adapters.onnx import OnnxScorer
from cxr_models.adapters.torchscript import TorchScriptScorer
from cxr_models.adapters.torchxrayvision import TorchXRayVisionScorer

__all__ = ["CallableScorer", "OnnxScorer", "TorchScriptScorer", "TorchXRayVisionScorer"]
