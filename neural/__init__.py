"""Network building blocks shared by ``cxr_models`` and ``ct_models``; imports nothing of drrval."""
