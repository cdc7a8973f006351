"""Make any picture of a character look like the pictures that a network was trained on.

Source of the procedure: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to
document recognition", section III.A: characters are size-normalised with their aspect ratio kept, grey
levels come from anti-aliasing, and the centre of mass is moved to the centre of the field. The detection
of the ink (background, polarity, specks) is an addition: their pictures were clean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.picture_format import PictureFormat
from scanline.errors import DataError

Grey = NDArray[np.float32]

_WORK_SIDE = 800  # pixels; larger pictures are searched for ink at this size, then cropped and searched again
_MIN_CONTRAST = 0.04  # of the full range, about ten grey levels of a byte
_NOISE_SIGMAS = 4.0  # smaller deviations from the background count as its texture
_BOX_SHARE = 0.12  # of the ink's full value: threshold for the bounding box
_INK_SHARE = 0.4  # of the ink's full value: threshold for strokes
_SPECK_SHARE = 0.08  # of the largest stroke's ink: less than this is a speck
_THIN_STROKE = 1.6 / 20  # of the longest side: thinner strokes would fade in the resizing ...
_DRAWN_STROKE = 2.4 / 20  # ... and are drawn this wide; MNIST's are 2 to 3 pixels in 20
_SLACK = {"mass": 1.0, "box": 1.5}  # pixels off the middle at which a prepared picture is still left alone


def prepare_picture(grey: Grey, form: PictureFormat, source: str = "picture") -> NDArray[np.uint8]:
    """Return the character in `grey` as the network reads it: light ink on 0, sized and centred.

    The middle is pixel (height // 2, width // 2), as in MNIST: the centre of mass lies within half a pixel of
    it, unless ink would leave the field. A picture that already has this form is returned bit for bit.

    Args:
        grey: (H, W), 0 black to 1 white, dark ink on light or light ink on dark.
        form: The format to fit it to.
        source: Name of the picture for messages.

    Returns:
        (height, width), 0 to form.levels.

    Raises:
        DataError: If there is no ink, or values are not finite or outside 0..1.
    """
    _check(grey, source)
    if _is_prepared(grey, form):
        return np.rint(grey * form.levels).astype(np.uint8)
    ink, place = _find_ink(grey, form.box, source)
    if grey.shape == (form.height, form.width):  # perhaps only the polarity is wrong
        whole = np.zeros_like(grey, np.float32)
        whole[place] = ink
        if _is_prepared(whole, form):
            return np.rint(whole * form.levels).astype(np.uint8)
    ink = _fit(ink, form)
    top, left = _corner(ink, form)
    field = np.zeros((form.height, form.width), np.uint8)
    field[top : top + ink.shape[0], left : left + ink.shape[1]] = np.rint(ink * form.levels)
    return field


def _check(grey: Grey, source: str) -> None:
    if grey.ndim != 2 or grey.size == 0:
        raise DataError(
            f"{source}: expected a picture of (height, width) >= (1, 1), found shape {grey.shape}"
        )
    if not np.isfinite(grey).all():
        raise DataError(f"{source}: the picture holds NaN or infinity; expected values 0..1")
    low, high = float(grey.min()), float(grey.max())
    if low < 0 or high > 1:
        raise DataError(f"{source}: expected values 0..1, found {low:g}..{high:g}; scale the picture first")
    if low == high:
        raise DataError(f"{source}: the picture is uniform: nothing to read; give one with ink on it")
    if high - low < _MIN_CONTRAST:
        raise _no_ink(source, high - low)


def _no_ink(source: str, contrast: float) -> DataError:
    if contrast >= _MIN_CONTRAST:
        return DataError(
            f"{source}: nothing stands out: expected ink on an even background, found a contrast of "
            f"{contrast:.3f} but a texture as strong, or too few pixels; give a clearer picture"
        )
    return DataError(
        f"{source}: almost no contrast: expected ink that differs from the background by {_MIN_CONTRAST:g} "
        f"of the range or more and stands out of its texture, found {contrast:.3f}; give a clearer picture"
    )


def _border(values: Grey, share: float = 0.0) -> Grey:
    """All values within `share` of each side's length, at least one pixel, of the edges, as one row."""
    rows, columns = (max(1, int(side * share)) for side in values.shape)
    return np.concatenate(
        [
            values[:rows].ravel(),
            values[-rows:].ravel(),
            values[:, :columns].ravel(),
            values[:, -columns:].ravel(),
        ]
    )


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the smallest rectangle that contains all of `mask`, which must not be empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _longest(box: tuple[slice, slice]) -> int:
    return max(int(side.stop) - int(side.start) for side in box)


def _mass_centre(ink: NDArray[np.floating]) -> tuple[float, float]:
    """Return row and column of the centre of mass, in pixels from the first pixel's centre."""
    # float64: a rounding error here could move the centre across the half-pixel rounding of `_corner`.
    ink = ink.astype(np.float64)
    row = ink.sum(1) @ np.arange(ink.shape[0]) / ink.sum()
    return float(row), float(ink.sum(0) @ np.arange(ink.shape[1]) / ink.sum())


def _is_prepared(grey: Grey, form: PictureFormat) -> bool:
    """Return whether it is light ink on black, sized and centred as `form` requires."""
    if grey.shape != (form.height, form.width) or grey.max() < 0.85:
        return False
    values = np.rint(grey * form.levels)
    if np.median(_border(values)) > 0:
        return False
    rows, columns = _bounds(values > 0)
    if not _is_sized(_longest((rows, columns)), form):
        return False
    if form.centre == "mass":
        row, column = _mass_centre(values)
        off = abs(row - form.height // 2), abs(column - form.width // 2)
    else:
        off = (
            abs(rows.start + rows.stop - form.height) / 2,
            abs(columns.start + columns.stop - form.width) / 2,
        )
    return max(off) <= _SLACK[form.centre]


def _is_sized(longest: int, form: PictureFormat) -> bool:
    return 0.9 * form.box <= longest <= form.box


def _find_ink(grey: Grey, box: int, source: str) -> tuple[Grey, tuple[slice, slice]]:
    """Return the ink in its bounding box, 0 to 1, and the box in the picture if it is small.

    A large picture is searched at a lower resolution first, so that neither time nor noise grows with it. The
    area with the ink is then read again at the best resolution that fits _WORK_SIDE.
    """
    from PIL import Image

    factor = -(-max(grey.shape) // _WORK_SIDE)
    while True:
        small = np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey
        ink, (rows, columns) = _separate(small, box, source)
        margin = max(4, max(ink.shape) // 8)
        crop = grey[
            max(0, rows.start - margin) * factor : (rows.stop + margin) * factor,
            max(0, columns.start - margin) * factor : (columns.stop + margin) * factor,
        ]
        # -(-a // b) rounds up. The loop ends when the crop can no longer be read at a finer resolution.
        finer = -(-max(crop.shape) // _WORK_SIDE)
        if finer >= factor:
            return ink, (rows, columns)
        grey, factor = crop, finer


def _separate(grey: Grey, box: int, source: str) -> tuple[Grey, tuple[slice, slice]]:
    """Return the ink of a picture of moderate size, and its bounding box."""
    from scipy import ndimage

    lit = _subtract_background(grey)
    # The standard deviation if the texture is normal; ink may fill most of the picture, or of the border.
    noise = 1.4826 * float(min(np.median(np.abs(lit)), np.median(np.abs(_border(lit, 0.02)))))
    rank = max(1, lit.size // 20000)  # the brightest of all may be dust
    top = float(np.partition(lit, -rank, axis=None)[-rank])
    if top < max(_MIN_CONTRAST, _NOISE_SIGMAS * noise):
        raise _no_ink(source, top)

    strokes = lit >= max(_INK_SHARE * top, _NOISE_SIGMAS * noise)
    reach = 1 + 2 * (max(grey.shape) // 60)  # pieces of a broken stroke, this near, belong together
    label, count = ndimage.label(ndimage.maximum_filter(strokes, reach), np.ones((3, 3)))
    amount = ndimage.sum_labels(lit * strokes, label, np.arange(count + 1))
    amount[0] = 0
    kept = (amount >= _SPECK_SHARE * amount.max())[label]
    full = float(np.percentile(lit[kept & strokes], 90)) if noise > 0 else float(lit[kept].max())
    floor = min(_NOISE_SIGMAS * noise, 0.3 * full)
    # Pixels between the strokes and their soft rims are kept; anything farther away is dirt.
    rim = 2 + max(grey.shape) // 100
    near = tuple(slice(max(0, side.start - rim), side.stop + rim) for side in _bounds(kept & strokes))
    ink = np.zeros_like(lit)
    ink[near] = np.clip((lit[near] - floor) / (full - floor), 0, 1)
    around = _bounds(ink > 0.002)
    if _longest(around) != box:  # the faintest rim counts only where the ink has its size already
        around = _bounds(ink >= _BOX_SHARE)
    return ink[around], around


def _subtract_background(grey: Grey) -> Grey:
    """`grey` less the light of its background, the sign chosen so that ink is positive.

    The background is a constant; where the border contradicts that, a plane, then a parabola.
    """
    step = -(-max(grey.shape) // 96)
    axes = [np.linspace(-1, 1, side, dtype=np.float32) for side in grey.shape]
    lit = grey - np.float32(np.median(_border(grey, 0.02)))
    light: Grey | None = None
    for order in (1, 2) if min(grey.shape) >= 32 else ():  # few pixels: light and ink look the same
        unexplained = float(np.median(np.abs(_border(lit, 0.02))))  # about 0 if only ink crosses the border
        if unexplained <= max(0.01, 0.03 * float(np.abs(lit).max())):
            break
        powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
        y, x = (axis[::step] for axis in axes)
        terms = np.stack([np.outer(y**i, x**j).ravel() for i, j in powers], 1)
        target = grey[::step, ::step].ravel()
        weight = np.ones_like(target)
        # Iteratively reweighted least squares for least absolute deviations: ink, the minority, hardly
        # counts.
        for _ in range(20):
            found = np.linalg.lstsq(terms * weight[:, None], target * weight, rcond=None)[0]
            weight = 1 / np.sqrt(np.maximum(np.abs(target - terms @ found), 0.005))
        light = np.zeros_like(grey)
        for c, (i, j) in zip(found, powers, strict=True):
            light += np.float32(c) * np.outer(axes[0] ** i, axes[1] ** j)
        lit = grey - light
    # The third moment gives the polarity: ink is the minority and lies far from the background.
    if float((lit.astype(np.float64) ** 3).sum()) >= 0:
        return lit
    # Dark ink takes away a share of the light that falls on it, so uneven light is divided out.
    return -lit * (light.mean() / np.maximum(light, 0.25 * light.mean())) if light is not None else -lit


def _fit(ink: Grey, form: PictureFormat) -> Grey:
    """`ink` resized so that its longest side is `form.box` and it fits the field, values 0..1.

    Ink that is of this size, or a tenth smaller, keeps its pixels: resizing so little only blurs.
    """
    from PIL import Image

    if _is_sized(max(ink.shape), form) and ink.shape[0] <= form.height and ink.shape[1] <= form.width:
        return ink
    ink = _thicken(ink)
    scale = min(form.box / max(ink.shape), form.height / ink.shape[0], form.width / ink.shape[1])
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    way = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(ink).resize((width, height), way))
    full = np.percentile(small[small > 0.1 * small.max()], 90)  # a line thinner than a pixel came out grey
    return np.asarray(np.clip(small / full, 0, 1), np.float32)


def _thicken(ink: Grey) -> Grey:
    """Draw strokes that would be lost in the resizing as wide as _DRAWN_STROKE of the longest side."""
    from scipy import ndimage

    padded = np.pad(ink, 1) >= 0.5
    depth = ndimage.distance_transform_edt(padded)[padded]
    width = 4 * float(depth.mean()) - 1 if depth.size else 0.0  # depth runs from 1/2 to width / 2
    missing = round(_DRAWN_STROKE * max(ink.shape) - width)
    if width >= _THIN_STROKE * max(ink.shape) or missing < 1:
        return ink
    ink = np.pad(ink, missing // 2 + 1)
    away = ndimage.distance_transform_edt(ink < 0.5)  # in pixels from the nearest ink, 0 on ink
    return np.asarray(np.maximum(ink, np.clip(missing / 2 + 0.5 - away, 0, 1)), np.float32)


def _corner(ink: Grey, form: PictureFormat) -> tuple[int, int]:
    """Return the row and column of the field at which the first pixel of `ink` is placed."""
    free = form.height - ink.shape[0], form.width - ink.shape[1]
    if form.centre == "mass":
        row, column = _mass_centre(ink)
        wanted = round(form.height // 2 - row), round(form.width // 2 - column)
    else:
        wanted = (free[0] + 1) // 2, (free[1] + 1) // 2
    top, left = (min(max(0, place), room) for place, room in zip(wanted, free, strict=True))
    return top, left
