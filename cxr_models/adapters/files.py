"""Model files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def read_model(path: str | Path) -> tuple[bytes, dict[str, str]]:
    """The bytes of a model file, and its SHA-256 by its name, of the very bytes that will run.

    Raises:
        ValueError: it cannot be read.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"Cannot read the model {file}: {error.strerror}. Give the path of its file; a relative one counts from "
            f"the working folder, {Path.cwd()}."
        ) from error
    return data, {file.name: hashlib.sha256(data).hexdigest()}
