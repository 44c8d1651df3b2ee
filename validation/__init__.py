"""Checks of the physics against what drrval did not write, as tables and figures of ``docs/physics.md``."""
