"""Training of the radiograph networks on tables of images (:mod:`cxr_models.data.tables`)."""
