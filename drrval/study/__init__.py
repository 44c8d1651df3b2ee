"""Study runs: one YAML file in, measurements, agreement and a report out."""
