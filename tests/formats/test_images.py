"""Reading pictures from files, and writing them."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scanline.errors import DataError
from scanline.formats import images
from scanline.formats.images import read_pixels

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
        (np.array([[0, 256]]), r"expected whole numbers 0\.\.255, found 0\.\.256; name the value of white"),
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
def test_a_file_of_no_bytes_is_reported_as_empty(tmp_path, suffix):
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
