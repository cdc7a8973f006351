"""Reading pictures from files, and writing them."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scanline.data.picture_format import PictureFormat
from scanline.errors import DataError
from scanline.formats import images, pixels
from scanline.formats.images import read_pixels
from scanline.formats.png import encode_levels

CORNERS = np.array([[0, 51], [102, 255]], np.uint8)  # 0, 0.2, 0.4 and 1 of 255


def close(found, expected, within=0.5 / 255):
    """Whether bytes (H, W, 1) are the nearest to these values, 0..1."""
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found[..., 0] / 255, expected, rtol=0, atol=within + 1e-9)


def saved(picture: Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "pgm", "bmp", "tif"])
def test_a_grey_picture_without_loss_reads_as_its_values_over_255(tmp_path, suffix):
    close(read_pixels(saved(Image.fromarray(CORNERS), tmp_path / f"a.{suffix}")), [[0, 0.2], [0.4, 1]])


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_lossy_picture_of_one_grey_reads_as_that_grey(tmp_path, suffix):
    path = saved(Image.new("RGB", (16, 8), (102, 102, 102)), tmp_path / f"a.{suffix}")
    close(read_pixels(path), np.full((8, 16), 0.4), within=0.01)


def test_the_content_decides_the_format_not_the_name(tmp_path):
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.jpg", format="PNG")
    close(read_pixels(path), [[0, 0.2], [0.4, 1]])


def test_colours_become_grey_by_rec_601(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    found = read_pixels(saved(Image.fromarray(colours), tmp_path / "a.png"))
    close(found, [[0.299, 0.587, 0.114]], within=0.5 / 255)


def test_a_palette_picture_reads_as_its_colours(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.putpixel((1, 0), 1)
    close(read_pixels(saved(picture, tmp_path / "a.png")), [[1, 0]])


def test_a_picture_of_one_bit_a_pixel_reads_as_zero_and_one(tmp_path):
    picture = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    close(read_pixels(saved(picture, tmp_path / "a.png")), [[0, 1]])


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_sixteen_bits_a_pixel_read_as_values_over_65535(tmp_path, suffix):
    picture = Image.fromarray(np.array([[0, 13107, 65535]], np.uint16))
    close(read_pixels(saved(picture, tmp_path / f"a.{suffix}")), [[0, 0.2, 1]])


def test_a_cmyk_jpeg_without_ink_is_white(tmp_path):
    path = saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), tmp_path / "a.jpg")
    close(read_pixels(path), np.ones((8, 8)), within=0.01)


def test_black_ink_on_a_transparent_ground_lies_on_white(tmp_path):
    layers = np.array([[[0, 255], [0, 0], [0, 51]]], np.uint8)  # opaque, clear, one fifth opaque
    path = saved(_la(layers), tmp_path / "a.png")
    close(read_pixels(path), [[0, 1, 0.8]])


def test_white_ink_on_a_transparent_ground_lies_on_black(tmp_path):
    layers = np.array([[[255, 255], [255, 0], [255, 51]]], np.uint8)
    close(read_pixels(saved(_la(layers), tmp_path / "a.png")), [[1, 0, 0.2]])


def test_paper_with_its_own_ink_and_clear_corners_lies_on_white(tmp_path):
    layers = np.array([[[0, 255], [255, 255], [255, 255], [0, 0]]], np.uint8)
    close(read_pixels(saved(_la(layers), tmp_path / "a.png")), [[0, 1, 1, 1]])


def _la(layers):
    grey, alpha = (Image.fromarray(np.ascontiguousarray(layers[..., i])) for i in (0, 1))
    return Image.merge("LA", (grey, alpha))


def test_a_transparent_palette_entry_lies_on_white(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 0])
    picture.putpixel((1, 0), 1)
    close(read_pixels(saved(picture, tmp_path / "a.png", transparency=0)), [[1, 0]])


def test_a_picture_is_turned_as_its_exif_data_say(tmp_path):
    picture = Image.fromarray(np.repeat(np.repeat(CORNERS, 16, 0), 32, 1))  # (32, 64), four even quarters
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: to be turned a quarter clockwise
    found = read_pixels(saved(picture, tmp_path / "a.jpg", exif=exif, quality=95))
    assert found.shape == (64, 32, 1)
    close(found[[16, 16, 48, 48], [8, 24, 8, 24]], [0.4, 0, 1, 0.2], within=0.02)


def test_of_several_frames_the_first_is_read(tmp_path):
    first, second = Image.new("L", (2, 2), 51), Image.new("L", (2, 2), 255)
    path = saved(first, tmp_path / "a.tif", save_all=True, append_images=[second])
    close(read_pixels(path), np.full((2, 2), 0.2))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (CORNERS, [[0, 0.2], [0.4, 1]]),
        (CORNERS.astype(np.int64), [[0, 0.2], [0.4, 1]]),
        (CORNERS.astype(">i2"), [[0, 0.2], [0.4, 1]]),
        (np.array([[0, 0.25]]), [[0, 0.25]]),
        (np.array([[0, 0.5]], np.float16), [[0, 0.5]]),
        (np.array([[True, False]]), [[1, 0]]),
        (np.array([[[1.0, 0, 0], [0, 1, 0], [1, 1, 1]]]), [[0.299, 0.587, 1]]),
        (np.array([[[0.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0.5]]]), [[0, 1, 1]]),
        (np.asfortranarray(CORNERS), [[0, 0.2], [0.4, 1]]),
    ],
)
def test_an_array_reads_as_grey_values_from_0_to_1(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    close(read_pixels(tmp_path / "a.npy"), expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"expected shape \(height, width\) or .*, found \(3,\); save one picture a file"),
        (np.zeros((2, 2, 2)), r"found \(2, 2, 2\)"),
        (np.zeros((0, 5)), r"found \(0, 5\)"),
        (np.zeros((1, 2, 2, 3)), r"found \(1, 2, 2, 3\)"),
        (np.array([[0, 256]]), r"expected whole numbers 0\.\.255, found 0\.\.256; scale"),
        (np.array([[-1, 5]]), r"found -1\.\.5"),
        (np.array([[0.0, 1.5]]), r"expected floats 0\.\.1, found 0\.\.1\.5; scale"),
        (np.array([[0.0, np.nan]]), r"found NaN or infinity; replace"),
        (np.array([[0.0, np.inf]]), r"found NaN or infinity; replace"),
        (np.array([[1j]]), r"found type complex128; convert"),
        (np.array([["a"]]), r"found type <U1; convert"),
        (np.array([[None]]), "found Python objects, which are never unpickled"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message) as caught:
        read_pixels(tmp_path / "a.npy")
    assert str(tmp_path / "a.npy") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_array_that_claims_more_pixels_than_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(8001, 8001)).flush()  # a sparse file
    with pytest.raises(DataError, match="at most 64000000 pixels, found 8001 x 8001; make it smaller"):
        read_pixels(path)


def test_an_array_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((50, 50)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match="bytes of values, found"):
        read_pixels(tmp_path / "a.npy")


def test_an_archive_of_arrays_is_not_an_array(tmp_path):
    np.savez(tmp_path / "a.npz", CORNERS)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"expected a \.npy array, found something else"):
        read_pixels(tmp_path / "a.npy")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"b\.png: cannot be read \(No such file.*\), expected a PNG"):
        read_pixels(tmp_path / "b.png")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.png")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images, "_read_still", refuse)
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(Permission denied\), .*; check"):
        read_pixels(path)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b"])
def test_a_name_that_no_system_allows_is_a_data_error(tmp_path, name):
    with pytest.raises(DataError, match=r": cannot be read .*; check the path$"):
        read_pixels(tmp_path / name)


def test_a_link_that_leads_to_itself_is_a_data_error(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(Too many levels of symbolic links"):
        read_pixels(tmp_path / "a.png")


def test_a_folder_is_not_a_picture(tmp_path):
    with pytest.raises(DataError, match="found a folder; name one file"):
        read_pixels(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_a_file_of_no_bytes_is_said_to_be_empty(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").touch()
    with pytest.raises(DataError, match=r"found an empty file \(0 bytes\)"):
        read_pixels(tmp_path / f"a.{suffix}")


def test_text_is_not_a_picture(tmp_path):
    (tmp_path / "a.png").write_text("seven")
    with pytest.raises(DataError, match="found something else; convert it"):
        read_pixels(tmp_path / "a.png")


def test_a_format_off_the_list_is_not_opened(tmp_path):
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.gif")
    with pytest.raises(DataError, match="expected a PNG, JPEG, PGM, PPM, BMP, TIFF or WebP picture"):
        read_pixels(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "pgm", "bmp", "webp"])
def test_a_picture_cut_short_is_damaged(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    content = saved(Image.fromarray(noise), tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"found a damaged one \(.+\); save it again|found something else"):
        read_pixels(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(("side", "found"), [(8001, "8001 x 8001"), (9999, "9999 x 9999"), (20000, "more")])
def test_a_picture_that_claims_more_pixels_than_the_limit_is_refused_before_it_is_decoded(
    tmp_path, side, found
):
    (tmp_path / "a.pgm").write_bytes(b"P5 %d %d 255\n" % (side, side))  # a header and no pixels
    with pytest.raises(DataError, match=f"expected at most 64000000 pixels, found {found}"):
        read_pixels(tmp_path / "a.pgm")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(["png", "npy", "jpg", "bmp", "webp", "pgm"]))
def test_damaged_bytes_read_or_raise_a_data_error_and_nothing_else(tmp_path, data, suffix):
    if suffix == "npy":
        content = io.BytesIO()
        np.save(content, CORNERS)
    else:
        content = io.BytesIO()
        name = {"jpg": "JPEG", "pgm": "PPM"}.get(suffix, suffix.upper())
        Image.fromarray(np.repeat(CORNERS, 8, 0)).save(content, name)
    whole = bytearray(content.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    prefix = data.draw(st.sampled_from([bytes(whole), bytes(whole[:10]), b"", b"P2 3 3 9\n"]))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(prefix + data.draw(st.binary(max_size=40)))
    try:
        found = read_pixels(path)
    except DataError:
        return
    assert found.ndim == 3
    assert found.shape[2] == 1
    assert found.dtype == np.uint8


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
    message = rf"values up to {largest}: white may be {largest} .* or 65535 .*; save it with 8 bits"
    with pytest.raises(DataError, match=message):
        read_pixels(path)


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
