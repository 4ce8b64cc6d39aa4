import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.data.standardise import encode, standardise
from pipeline.errors import BadData


def saved(image: Image.Image, kind: str = "PNG", **how) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_an_image_of_the_right_size_keeps_its_pixels():
    image = noise(8, 8)
    assert (standardise(saved(image), 8, 3) == np.asarray(image)).all()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)],
)
def test_exif_rotation_is_applied(orientation, turn):
    image = noise(8, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (standardise(saved(image, exif=exif), 8, 3) == np.asarray(image.transpose(turn))).all()


def test_the_centre_of_the_longer_side_is_kept():
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = (10, 20, 30)
    pixels[:, :8] = pixels[:, 16:] = 255
    assert (standardise(saved(Image.fromarray(pixels)), 8, 3) == (10, 20, 30)).all()
    assert (standardise(saved(Image.fromarray(pixels.transpose(1, 0, 2))), 8, 3) == (10, 20, 30)).all()


def test_shrinking_averages():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert abs(standardise(saved(Image.fromarray(board)), 8, 1).astype(int) - 127).max() <= 8


def test_cmyk():
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    r, g, b = standardise(saved(red, "JPEG", quality=95), 8, 3).reshape(-1, 3).mean(0)
    assert r > 240
    assert max(g, b) < 15


def test_sixteen_bits_keep_the_upper_eight():
    values = np.repeat(np.array([0, 0x1234, 0x8000, 0xFFFF], np.uint16), 4).reshape(4, 4)
    assert standardise(saved(Image.fromarray(values)), 4, 1)[:, 0, 0].tolist() == [0, 0x12, 0x80, 0xFF]


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "L", "1"])
def test_other_modes_equal_their_rgb(mode):
    image = noise(8, 8).convert(mode)
    assert (standardise(saved(image), 8, 3) == np.asarray(image.convert("RGB"))).all()


def test_a_palette_with_transparency_does_not_warn():
    image = noise(8, 8).convert("P")
    data = saved(image, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (standardise(data, 8, 3) == np.asarray(image.convert("RGB"))).all()


def test_grey_has_one_channel_and_colour_three():
    grey = noise(8, 8).convert("L")
    assert standardise(saved(grey), 8, 1).shape == (8, 8, 1)
    three = standardise(saved(grey), 8, 3)
    assert (three == np.asarray(grey)[:, :, None]).all()
    assert (standardise(saved(noise(8, 8)), 8, 1)[:, :, 0] == np.asarray(noise(8, 8).convert("L"))).all()


def test_the_first_frame_of_an_animation():
    first, second = noise(8, 8), Image.new("RGB", (8, 8))
    data = saved(first, save_all=True, append_images=[second])
    assert (standardise(data, 8, 3) == np.asarray(first)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_tiny_and_narrow_images_fill_the_square(size):
    assert standardise(saved(Image.new("RGB", size, (5, 6, 7))), 8, 3).reshape(-1, 3).tolist() == [[5, 6, 7]] * 64


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "EPS", "PPM"])
def test_other_formats_are_refused(kind):
    with pytest.raises(BadData, match="not a JPEG, PNG or WebP"):
        standardise(saved(noise(8, 8), kind), 8, 3)


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(BadData, match="cannot be decoded"):
        standardise(data, 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_half_an_image_is_refused(kind):
    data = saved(noise(64, 64), kind)
    with pytest.raises(BadData, match="cannot be decoded"):
        standardise(data[: len(data) // 2], 8, 3)


def header_only(side: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [7_072, 9_000, 13_000, 60_000])
def test_too_many_pixels_are_refused_from_the_header(side):
    with pytest.raises(BadData, match=r"at most 50,000,000 are allowed"):
        standardise(header_only(side), 8, 3)


def test_just_few_enough_pixels_reach_the_decoder():
    with pytest.raises(BadData, match="cannot be decoded"):
        standardise(header_only(7_071), 8, 3)


def test_png_is_lossless_and_jpg_is_close():
    pixels = np.asarray(noise(4, 4).resize((32, 32), Image.Resampling.BICUBIC))
    assert (np.asarray(Image.open(io.BytesIO(encode(pixels, "png")))) == pixels).all()
    jpg = Image.open(io.BytesIO(encode(pixels, "jpg")))
    assert jpg.format == "JPEG"
    assert 0 < abs(np.asarray(jpg).astype(int) - pixels).mean() < 3
    grey = pixels[:, :, :1]
    assert (np.asarray(Image.open(io.BytesIO(encode(grey, "png")))) == grey[:, :, 0]).all()
