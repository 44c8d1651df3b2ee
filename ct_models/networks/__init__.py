"""The CT networks."""
