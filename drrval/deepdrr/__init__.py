"""DeepDRR as an optional projector, run in an interpreter of its own.

DeepDRR (Unberath et al., MICCAI 2018, doi:10.1007/978-3-030-00937-3_12) needs an NVIDIA GPU, CuPy, EGL and numpy below
2, and is licensed under the GPL. So nothing of it is imported here: a worker script runs it with the Python that
``DRRVAL_DEEPDRR_PYTHON`` names, and arrays pass through files in a temporary folder.

* :mod:`drrval.deepdrr.camera`: a view as the pinhole camera that DeepDRR takes;
* :mod:`drrval.deepdrr.projection`: the call;
* :mod:`drrval.deepdrr.interpreter`: finding and starting the interpreter;
* :mod:`drrval.deepdrr.worker`: the script, the only file that imports DeepDRR.
"""

from drrval.deepdrr.projection import DeepDRRImages, project_deepdrr

__all__ = ["DeepDRRImages", "project_deepdrr"]
