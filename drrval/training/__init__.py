"""``drrval train``: a training run described by a YAML file, resumable, stored as weights that a study can name."""
