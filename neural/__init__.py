"""Network building blocks shared by ``cxr_models`` and ``ct_models``. Needs PyTorch; imports nothing of drrval."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "PyTorch is not installed, and the neural models need it. Install drrval with the 'models' extra: "
        "pip install 'drrval[models]'."
    ) from error
