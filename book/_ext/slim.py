"""Smaller figures: matplotlib's SVG with nothing in it that cannot be seen.

Places are rounded to hundredths of a point, those of letters to hundredths of their size. A heat
map has one pixel a cell and a palette. What is neither drawn nor referred to goes.
"""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

UNSEEN = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->| id=\"[a-zA-Z.]+\d*_\d+\"", re.DOTALL)
PLACES = re.compile(r'\b((?:d|x|y|width|height)="|translate\()([^")]+)')
LONG = re.compile(r"-?\d+\.\d{2,}")
BITMAP = re.compile(r'xlink:href="data:image/png;base64,([^"]+)"')
LETTER = re.compile(r'(<use [^>]*\btransform="translate\()([\d.]+) ')  # in hundredths of a size
GROUP = re.compile(r"<g>((?:<(?!/?g[ >])[^>]*>)*)</g>")  # around nothing that needs it


def slim(svg: str) -> str:
    """Return a figure of matplotlib that looks the same and has about half its bytes."""
    svg = PLACES.sub(_rounded, UNSEEN.sub("", svg))
    svg = LETTER.sub(lambda found: f"{found[1]}{float(found[2]):.0f} ", svg)
    svg = re.sub(r">\s+<", "><", BITMAP.sub(_bitmap, svg))
    svg = svg.replace("xlink:href=", "href=").replace("DejaVuSans-", "t")
    while (fewer := GROUP.sub(r"\1", svg)) != svg:
        svg = fewer
    return svg


def _rounded(found: re.Match[str]) -> str:
    short = LONG.sub(lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), found[2])
    short = " ".join(short.split())
    return found[1] + (re.sub(r" ?([MLQCZz]) ?", r"\1", short) if found[1] == 'd="' else short)


def _bitmap(found: re.Match[str]) -> str:
    content = base64.b64decode(found[1])
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    pixels = _cells(whole)
    sharp = "" if pixels is whole else 'style="image-rendering: pixelated" '
    data = base64.b64encode(_png(pixels) or content).decode()
    return f'{sharp}preserveAspectRatio="none" href="data:image/png;base64,{data}"'


def _png(pixels: np.ndarray) -> bytes:
    """Return a picture of at most 256 colours; nothing for one of more."""
    colours, at = np.unique(np.ascontiguousarray(pixels).view("<u4"), return_inverse=True)
    if len(colours) > 256:
        return b""
    rgba = colours.view(np.uint8).reshape(-1, 4)
    image = Image.frombytes("P", pixels.shape[1::-1], at.astype(np.uint8).tobytes())
    image.putpalette(rgba[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True, transparency=rgba[:, 3].tobytes())
    return buffer.getvalue()


def _cells(pixels: np.ndarray) -> np.ndarray:
    """Return one pixel for each cell, where all cells have one size."""
    whole = pixels
    for axis in (0, 1):
        lines = np.moveaxis(pixels, axis, 0)
        other = (lines[1:] != lines[:-1]).any(axis=(1, 2))
        starts = np.flatnonzero(np.r_[True, other])
        if np.ptp(np.diff(np.r_[starts, len(lines)])) > 1:
            return whole
        pixels = np.moveaxis(lines[starts], 0, axis)
    return pixels if pixels.size < whole.size else whole
