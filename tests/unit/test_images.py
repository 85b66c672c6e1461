from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from langchain_jupyter.rendering import images

NOISE = random.Random(1).randbytes(1_200 * 900 * 3)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def noise() -> Image.Image:
    return Image.frombytes("RGB", (1_200, 900), NOISE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_an_image_that_is_small_enough_passes_untouched(kind: str) -> None:
    data = encoded(Image.new("RGB", (40, 30), "red"), kind)

    picture = images.fit(data, side=768, size=100_000)

    assert picture == images.Picture(data, f"image/{kind.lower()}", 40, 30)


def test_a_bitmap_becomes_a_png() -> None:
    picture = images.fit(encoded(Image.new("RGB", (40, 30), "red"), "BMP"), side=768, size=100_000)

    assert picture is not None
    assert picture.mime == "image/png"


def test_a_large_image_is_scaled_to_its_longer_side() -> None:
    picture = images.fit(encoded(Image.new("RGB", (2_000, 1_000), "red")), side=768, size=100_000)

    assert picture is not None
    assert (picture.width, picture.height) == (768, 384)


@pytest.mark.parametrize("size", [100_000, 20_000, 2_000])
def test_noise_is_encoded_until_it_is_small_enough(size: int) -> None:
    picture = images.fit(encoded(noise()), side=768, size=size)

    assert picture is not None
    assert len(picture.data) <= size


def test_what_cannot_be_small_enough_is_nothing() -> None:
    picture = images.fit(encoded(noise()), side=768, size=20)

    assert picture is None


def test_transparency_is_white_in_a_jpeg() -> None:
    image = noise().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))

    picture = images.fit(encoded(image), side=768, size=60_000)

    assert picture is not None
    assert picture.mime == "image/jpeg"
    top = Image.open(io.BytesIO(picture.data)).getpixel((picture.width // 2, 0))
    assert isinstance(top, tuple)
    assert min(top) > 200


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_of_a_png_is_taken(mode: str) -> None:
    picture = images.fit(encoded(Image.new(mode, (900, 20))), side=768, size=100_000)

    assert picture is not None
    assert picture.width == 768


def test_an_image_for_print_is_taken() -> None:
    picture = images.fit(encoded(Image.new("CMYK", (900, 20)), "JPEG"), side=768, size=100_000)

    assert picture is not None


@pytest.mark.parametrize(
    "data", [b"", b"no image", encoded(noise())[:50_000], encoded(noise(), "JPEG")[:30], encoded(noise())[:40]]
)
def test_damaged_data_is_nothing(data: bytes) -> None:
    picture = images.fit(data, side=768, size=100_000)

    assert picture is None


def test_a_decompression_bomb_is_nothing() -> None:
    data = encoded(Image.new("1", (20_000, 20_000)))

    picture = images.fit(data, side=768, size=100_000)

    assert picture is None


def test_base64_may_have_line_breaks() -> None:
    assert images.decode("YW\nJj\n") == b"abc"
    assert images.decode("ä") is None
    assert images.decode("abc") is None
