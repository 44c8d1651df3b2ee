"""The radiograph networks: DLNet (detection and localisation) and LSNet (lung segmentation), full and light."""

import neural  # noqa: F401  # says how to install PyTorch where it is missing
