"""Images as a model is shown them: small enough, in a format that every provider takes. Pure, by Pillow."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

_PIXELS = 50_000_000
_SMALLEST = 16
_SHRINK = 0.7
_QUALITIES = (85, 70, 50, 30)
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
_READ = (*_FORMATS, "BMP")


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image.

    Attributes:
        data: The file's bytes.
        mime: "image/png", "image/jpeg", "image/gif" or "image/webp".
        width: Pixels.
        height: Pixels.
    """

    data: bytes
    mime: str
    width: int
    height: int

    @property
    def base64(self) -> str:
        """The bytes in base64, without line breaks."""
        return base64.b64encode(self.data).decode("ascii")


def decode(text: str) -> bytes | None:
    """Bytes of base64, which may be broken into lines; None if it is not base64."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels by the file's head alone; None if it is no image that we read."""
    image = _open(data)
    return None if image is None else image.size


def fit(data: bytes, *, side: int, size: int) -> Picture | None:
    """The image, scaled and encoded anew only where it has to be.

    Args:
        data: A PNG, JPEG, GIF, WebP or BMP file.
        side: Pixels that its longer side may have.
        size: Bytes that the file may have.

    Returns:
        The picture; None if the data is damaged or no such image, has over 50 million pixels, or stays too large.
    """
    image = _open(data)
    if image is None:
        return None
    mime = _FORMATS.get(image.format or "")
    try:
        image.load()
        if mime and max(image.size) <= side and len(data) <= size:
            return Picture(data, mime, *image.size)
        return next((each for each in _smaller(_plain(image), side) if len(each.data) <= size), None)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError):
        # Pillow raises any of these for damaged files, depending on the format.
        return None


def _open(data: bytes) -> Image | None:
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            image = PIL.Image.open(io.BytesIO(data), formats=_READ)
    except (OSError, ValueError, SyntaxError, EOFError, PIL.Image.DecompressionBombError):
        return None
    return image if 0 < image.width * image.height <= _PIXELS else None


def _plain(image: Image) -> Image:
    """As RGB, or RGBA if some of it is transparent."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return image if image.getchannel("A").getextrema() != (255, 255) else image.convert("RGB")
    return image.convert("RGB")


def _smaller(image: Image, side: int) -> Iterator[Picture]:
    """Encodings of the image, best first, with fewer and fewer pixels."""
    longest = min(side, max(image.size))
    while True:
        scaled = image.copy()
        scaled.thumbnail((longest, longest))
        yield from _encodings(scaled)
        if longest <= _SMALLEST:
            return
        longest = max(int(longest * _SHRINK), _SMALLEST)


def _encodings(image: Image) -> Iterator[Picture]:
    yield _encode(image, "PNG", optimize=True)
    yield _encode(image.quantize(256, method=2), "PNG", optimize=True)
    opaque = _on_white(image)
    for quality in _QUALITIES:
        yield _encode(opaque, "JPEG", quality=quality, optimize=True)


def _on_white(image: Image) -> Image:
    import PIL.Image

    if image.mode != "RGBA":
        return image
    white = PIL.Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _encode(image: Image, kind: str, **options: int) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Picture(buffer.getvalue(), _FORMATS[kind], *image.size)
