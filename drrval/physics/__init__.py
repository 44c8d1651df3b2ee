"""X-ray physics: tube spectrum, attenuation, scatter and the image receptor."""
