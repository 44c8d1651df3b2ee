"""Training of the CT networks."""
