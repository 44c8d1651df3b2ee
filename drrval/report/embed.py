"""Put pictures and figures into a page, so that it needs no other file and no network."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

from markupsafe import Markup, escape
from PIL import Image


def png_data_uri(path: Path, max_width: int) -> str:
    """A PNG file as a ``data:`` address, reduced to ``max_width`` pixels where it is wider.

    Raises:
        OSError: the file is missing or not a picture.
    """
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as picture:
        if picture.width > max_width:
            height = round(picture.height * max_width / picture.width)
            stream = BytesIO()
            picture.resize((max_width, height), Image.Resampling.LANCZOS).save(stream, format="PNG", compress_level=3)
            content = stream.getvalue()
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def inline_svg(svg: str, name: str, description: str, link_root: str) -> Markup:
    """A matplotlib SVG made fit to stand inside a page.

    Args:
        svg: text of the SVG file.
        name: put before every id, because ids must be unique in a page with several figures.
        description: text alternative for readers who do not see the figure.
        link_root: start of the links in the file that is dropped, because the page lies elsewhere.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", body)
    body = body.replace(f'xlink:href="{link_root}', 'xlink:href="')
    return Markup(body.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))
