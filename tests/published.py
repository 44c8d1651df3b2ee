"""Published values that the physics is compared with; each stands in the file beside its source."""

from pathlib import Path

import yaml

PUBLISHED = yaml.safe_load((Path(__file__).parents[1] / "validation" / "published.yaml").read_text(encoding="utf-8"))
