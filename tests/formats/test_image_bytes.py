"""Damaged and ambiguous image files."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scanline.data.picture_format import PictureFormat
from scanline.errors import DataError
from scanline.formats import pixels
from scanline.formats.images import read_pixels
from scanline.formats.png import encode_levels
from tests.formats.test_images import CORNERS, close, saved

# --- bytes


@pytest.mark.parametrize("suffix", ["png", "pgm", "bmp", "tif"])
def test_all_256_grey_levels_are_read_bit_for_bit(tmp_path, suffix):
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    path = saved(Image.fromarray(pixels), tmp_path / f"a.{suffix}")
    found = read_pixels(path, colour=False)
    assert found.dtype == np.uint8
    assert found.shape == (8, 32, 1)
    assert (found[..., 0] == pixels).all()
    assert (read_pixels(path, colour=True) == pixels[..., None]).all()


@pytest.mark.parametrize("suffix", ["png", "ppm", "bmp", "tif"])
def test_colours_are_read_bit_for_bit_and_become_grey_as_pillow_does_it(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    path = saved(Image.fromarray(pixels), tmp_path / f"a.{suffix}")
    assert (read_pixels(path, colour=True) == pixels).all()
    assert (read_pixels(path, colour=False)[..., 0] == np.asarray(Image.fromarray(pixels).convert("L"))).all()


def test_colours_of_a_transparent_picture_lie_on_white(tmp_path):
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 51], [1, 2, 3, 0]]], np.uint8)
    path = saved(Image.fromarray(pixels), tmp_path / "a.png")
    assert read_pixels(path, colour=True).tolist() == [[[255, 0, 0], [255, 204, 204], [255, 255, 255]]]


def test_colours_of_an_array_are_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[1.0, 0.0, 0.2]]]))
    assert read_pixels(tmp_path / "a.npy", colour=True).tolist() == [[[255, 0, 51]]]
    np.save(tmp_path / "b.npy", np.array([[7]]))
    assert read_pixels(tmp_path / "b.npy", colour=True).tolist() == [[[7, 7, 7]]]


def test_sixteen_bits_in_colour_are_three_equal_ones(tmp_path):
    path = saved(Image.fromarray(np.array([[0, 257, 65535]], np.uint16)), tmp_path / "a.png")
    assert read_pixels(path, colour=True).tolist() == [[[0] * 3, [1] * 3, [255] * 3]]


def test_a_coloured_picture_is_saved_and_reads_back_as_its_values(tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    (tmp_path / "a.png").write_bytes(encode_levels(values, levels=255))
    assert read_pixels(tmp_path / "a.png", colour=True).tolist() == values.tolist()


def several_modes(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    layers = rng.integers(0, 256, (40, 33, 4), np.uint8)
    wide = rng.integers(0, 65536, (40, 33), np.uint16)
    pictures = {
        "rgba.png": Image.fromarray(layers),
        "la.png": Image.fromarray(layers).convert("LA"),
        "palette.png": Image.fromarray(layers).quantize(),
        "wide.png": Image.fromarray(wide),
        "float.tif": Image.fromarray((wide / 65535).astype(np.float32)),
    }
    for name, array in (("4.npy", layers), ("3.npy", layers[..., :3] / 255), ("2.npy", layers[..., 0])):
        np.save(folder / name, array)
    paths = [saved(picture, folder / name) for name, picture in pictures.items()]
    return paths + sorted(folder.glob("*.npy"))


@pytest.mark.parametrize("colour", [False, True])
def test_a_large_picture_is_computed_in_bands_to_the_same_bytes(tmp_path, monkeypatch, colour):
    paths = several_modes(tmp_path)
    whole = [read_pixels(path, colour) for path in paths]
    monkeypatch.setattr(pixels, "_BAND_PIXELS", 100)
    for path, expected in zip(paths, whole, strict=True):
        found = read_pixels(path, colour)
        assert found.shape == (40, 33, 3 if colour else 1)
        assert (found == expected).all(), path


def test_of_a_large_transparent_picture_a_part_tells_the_background(tmp_path, monkeypatch):
    layers = np.zeros((64, 64, 4), np.uint8)
    layers[16:48, 16:48] = (250, 250, 250, 255)  # light on nothing: it was drawn for black
    path = saved(Image.fromarray(layers), tmp_path / "a.png")
    expected = read_pixels(path)
    assert expected[0, 0, 0] == 0
    monkeypatch.setattr(pixels, "_SAMPLED_PIXELS", 100)
    assert (read_pixels(path) == expected).all()


def test_a_png_that_is_too_short_for_its_pixels_is_damaged(tmp_path):
    rows = zlib.compress(bytes(1000 * 1001))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">II5B", 1000, 40_000, 8, 0, 0, 0, 0)),  # there are 1,000 rows
            (b"IDAT", rows),
            (b"IEND", b""),
        )
    )
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged one \(1,049 bytes for 40000 x 1000 pixels\)"):
        read_pixels(tmp_path / "a.png")


def test_a_tiff_that_lacks_rows_is_damaged(tmp_path):
    path = saved(Image.new("L", (6, 5)), tmp_path / "a.tif")
    height = struct.pack("<HHII", 257, 4, 1, 5)  # tag, type, count, value
    content = path.read_bytes().replace(struct.pack("<HHIHH", 257, 3, 1, 5, 0), height)
    assert content.count(height) == 1
    path.write_bytes(content.replace(height, struct.pack("<HHII", 257, 4, 1, 8_000_000)))
    with pytest.raises(DataError, match="damaged one"):
        read_pixels(path)


def test_a_jpeg_that_is_too_short_for_its_pixels_is_damaged(tmp_path):
    path = saved(Image.new("L", (16, 16), 77), tmp_path / "a.jpg")
    content = path.read_bytes()
    assert content.count(struct.pack(">HH", 16, 16)) == 1
    path.write_bytes(content.replace(struct.pack(">HH", 16, 16), struct.pack(">HH", 9000, 7000)))
    with pytest.raises(DataError, match=r"damaged one \(\d+ bytes for 9000 x 7000 pixels\)"):
        read_pixels(path)
    assert read_pixels(saved(Image.new("RGB", (8000, 4000)), path, quality=1)).shape == (4000, 8000, 1)


def test_a_jpeg_of_more_scans_than_encoders_make_is_refused(tmp_path):
    path = saved(Image.new("L", (16, 16), 77), tmp_path / "a.jpg", progressive=True)
    content = path.read_bytes()
    scan = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + 20 * scan + content[-2:])
    assert read_pixels(path)[0, 0, 0] == 77
    path.write_bytes(content[:-2] + 100 * scan + content[-2:])
    with pytest.raises(DataError, match=r"at most 64 scans in a JPEG picture, found 10.; .*LIMIT_SCANS"):
        read_pixels(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_a_blank_png_is_no_damaged_one(tmp_path, mode):
    path = saved(Image.new(mode, (3000, 3000)), tmp_path / "a.png", optimize=True)
    assert read_pixels(path).shape == (3000, 3000, 1)


def test_reading_leaves_the_warning_filters_as_they_were(tmp_path):
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.png")
    before = list(warnings.filters)
    read_pixels(path)
    assert warnings.filters == before


def test_a_saved_picture_is_stretched_to_255_and_reads_back_as_its_values(tmp_path):
    values = np.array([[0, 4], [8, 16]], np.uint8)
    (tmp_path / "a.png").write_bytes(encode_levels(values, levels=16))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "L"
        assert np.asarray(picture).tolist() == [[0, 64], [128, 255]]  # 63.75 and 127.5 rounded to even
    assert np.rint(read_pixels(tmp_path / "a.png")[..., 0] / 255 * 16).tolist() == values.tolist()


@pytest.mark.parametrize(("values", "levels"), [(np.array([[17]]), 16), (np.zeros(3), 16), (CORNERS, 300)])
def test_values_above_their_levels_are_refused(values, levels):
    with pytest.raises(ValueError, match=r"expected \(height, width\) of 0..levels"):
        encode_levels(values.astype(np.uint8), levels)


def test_a_picture_format_cannot_change():
    form = PictureFormat(28, 28, 20, 255, "mass")
    with pytest.raises(AttributeError):
        form.box = 8


# --- what the header leaves open


def quarters() -> np.ndarray:
    """(32, 64): four even quarters."""
    return np.repeat(np.repeat(CORNERS, 16, 0), 32, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["tif", "png", "webp", "jpg"])
def test_every_orientation_is_applied_in_every_format(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    path = saved(Image.fromarray(quarters()), tmp_path / f"a.{suffix}", exif=exif, **options)
    turned = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, 3),
        7: lambda a: np.rot90(a, 2).T,
        8: np.rot90,
    }[orientation]
    close(read_pixels(path), turned(quarters()) / 255, within=1.5 / 255)


def test_a_tiff_of_sixteen_bits_is_turned(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    wide = Image.fromarray(quarters().astype(np.uint16) * 257)
    close(read_pixels(saved(wide, tmp_path / "a.tif", exif=exif)), np.rot90(quarters(), 3) / 255)


def png(path: Path, depth: int, kind: int, rows: list[bytes], size: tuple[int, int], trns: bytes) -> Path:
    """A PNG of any bit depth and colour type, written by hand. `size` is (width, height)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    content = chunk(b"IHDR", header) + chunk(b"tRNS", trns) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_a_transparent_grey_of_sixteen_bits_lies_on_white(tmp_path):
    # Values 0 (transparent), 1 and 65535: only the exact value is transparent.
    row = struct.pack(">HHH", 0, 1, 65535)
    path = png(tmp_path / "a.png", 16, 0, [row], (3, 1), struct.pack(">H", 0))
    close(read_pixels(path), [[1, 0, 1]])
    np.testing.assert_array_equal(read_pixels(path, colour=True)[0], [[255] * 3, [0] * 3, [255] * 3])


@pytest.mark.parametrize(("depth", "row"), [(2, b"\x1b"), (4, b"\x05\xaf")])
def test_a_transparent_grey_of_two_and_four_bits_lies_on_white(tmp_path, depth, row):
    # Levels 0, 1/3, 2/3 and 1; 1/3, stored as 1 of 3 or 5 of 15, is transparent.
    third = (2**depth - 1) // 3
    path = png(tmp_path / "a.png", depth, 0, [row], (4, 1), struct.pack(">H", third))
    close(read_pixels(path), [[0, 1, 2 / 3, 1]])


def test_a_transparent_colour_of_sixteen_bits_lies_on_white(tmp_path):
    row = struct.pack(">HHHHHH", 65535, 0, 0, 0, 0, 0)
    path = png(tmp_path / "a.png", 16, 2, [row], (2, 1), struct.pack(">HHH", 65535, 0, 0))
    close(read_pixels(path), [[1, 0]])


@pytest.mark.parametrize("largest", [255, 1023, 4095, 16383])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_that_hold_fewer_are_refused_with_both_readings(tmp_path, suffix, largest):
    path = saved(Image.fromarray(np.array([[0, largest]], np.uint16)), tmp_path / f"a.{suffix}")
    message = rf"values up to {largest}: white may be {largest} .* or 65535 .*; .* such as --white {largest}"
    with pytest.raises(DataError, match=message):
        read_pixels(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_white_may_be_named_for_samples_of_more_than_eight_bits(tmp_path, name):
    path, values = tmp_path / name, np.array([[0, 819, 4095]], np.uint16)
    np.save(path, values) if name == "a.npy" else saved(Image.fromarray(values), path)
    close(read_pixels(path, white=4095), [[0, 0.2, 1]])
    with pytest.raises(DataError, match=r"0\.\.4000, found 0\.\.4095; name the value of white"):
        read_pixels(path, white=4000)


def test_white_that_is_named_does_not_replace_what_a_file_declares(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 4095\n" + struct.pack(">HH", 0, 819))
    wide = Image.fromarray(np.array([[0, 819]], np.uint16))
    saved(wide, tmp_path / "a.tif", tiffinfo={281: 4095})
    saved(Image.fromarray(np.array([[0, 51]], np.uint8)), tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.array([[0, 51]], np.uint8))
    for name in ("a.pgm", "a.tif", "a.png", "a.npy"):
        close(read_pixels(tmp_path / name, white=1023), [[0, 0.2]])


def test_a_black_picture_of_sixteen_bits_and_one_of_a_quarter_are_read(tmp_path):
    close(read_pixels(saved(Image.fromarray(np.zeros((1, 2), np.uint16)), tmp_path / "a.png")), [[0, 0]])
    quarter = Image.fromarray(np.array([[0, 16384]], np.uint16))
    close(read_pixels(saved(quarter, tmp_path / "b.png")), [[0, 16384 / 65535]])


def test_a_pgm_declares_its_white(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 4095\n" + struct.pack(">HH", 0, 819))
    close(read_pixels(tmp_path / "a.pgm"), [[0, 0.2]])


def test_a_tiff_may_declare_its_white_and_that_zero_is_white(tmp_path):
    wide = Image.fromarray(np.array([[0, 819]], np.uint16))
    close(read_pixels(saved(wide, tmp_path / "a.tif", tiffinfo={281: 4095})), [[0, 0.2]])
    path = saved(Image.fromarray(np.array([[0, 52428]], np.uint16)), tmp_path / "b.tif")
    minimum, inverted = (struct.pack("<HHIHH", 262, 3, 1, value, 0) for value in (1, 0))
    content = path.read_bytes()
    assert content.count(minimum) == 1
    path.write_bytes(content.replace(minimum, inverted))
    close(read_pixels(path), [[1, 0.2]])


def test_negative_samples_are_refused(tmp_path):
    path = saved(Image.fromarray(np.array([[-5, 40000]], np.int32)), tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"expected samples of 0 or more, found -5\.\.40000"):
        read_pixels(path)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"GIF89a", "a GIF picture"),
        (b"\0\0\0\x1cftypheic", "a HEIF picture"),
        (b"%PDF-1.7", "a PDF document"),
    ],
)
def test_a_format_that_is_not_read_is_named(tmp_path, head, name):
    (tmp_path / "a.png").write_bytes(head + bytes(64))
    with pytest.raises(DataError, match=f"found {name}; convert it"):
        read_pixels(tmp_path / "a.png")
