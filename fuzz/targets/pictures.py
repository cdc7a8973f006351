"""Targets that read pictures and folders of pictures."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.mutators import Files
from fuzz.targets.base import _only, _saved, refusal_allowed
from fuzz.targets.data import _digest, _images


def _pictures() -> list[Files]:
    from PIL import Image

    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (5, 6), dtype=np.uint16))
    floats = Image.fromarray(rng.random((5, 6), dtype=np.float32))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        *(
            ("it.png", each, "PNG", {})
            for each in (grey, colour, deep, grey.convert("1"), colour.convert("P"))
        ),
        ("it.png", colour, "PNG", {"save_all": True, "append_images": [colour.rotate(90)]}),
        ("it.jpg", colour.convert("RGB"), "JPEG", {"exif": turned}),
        ("it.jpg", grey, "JPEG", {"progressive": True}),
        ("it.jpg", colour.convert("CMYK"), "JPEG", {}),
        *(
            (f"it.p{kind}m", each, "PPM", {})
            for kind, each in (("g", grey), ("p", colour.convert("RGB")), ("b", grey.convert("1")))
        ),
        ("it.pgm", deep, "PPM", {}),
        *(("it.bmp", each, "BMP", {}) for each in (grey, colour.convert("RGB"), grey.convert("P"))),
        *(("it.tiff", each, "TIFF", {}) for each in (grey, colour, deep, floats)),
        *(("it.tif", grey, "TIFF", {"compression": how}) for how in ("tiff_lzw", "tiff_deflate", "packbits")),
        ("it.webp", colour, "WEBP", {"lossless": True}),
        (
            "it.webp",
            colour.convert("RGB"),
            "WEBP",
            {"save_all": True, "append_images": [colour.convert("RGB")]},
        ),
    ]
    found = [
        {name: _saved(lambda f, i=image, k=kind, o=own: i.save(f, k, **o))}
        for name, image, kind, own in kinds
    ]
    arrays = [_images(1)[0], rng.random((4, 5, 3)), rng.integers(0, 256, (4, 5, 4)), rng.random((3, 3)) > 0.5]
    found += [{"it.npy": _saved(lambda f, a=array: np.save(f, a))} for array in arrays]
    # Without a netpbm header of its own: text, as people write it.
    found.append({"it.pgm": b"P2\n# a word\n3 2\n15\n0 1 2\n13 14 15\n"})
    return found


def _read_picture(folder: Path) -> None:
    """As `predict`, `explain` and the server take one."""
    from scanline.data.transforms.framing import fit_picture
    from scanline.formats.images import decode_pixels, read_pixels

    path = _only(folder)
    for form in (*_forms()[:2], _forms()[_digest(path) % len(_forms())]):
        colour = form.channels == 3
        with refusal_allowed():
            fit_picture(read_pixels(path, colour), form, str(path))
        with refusal_allowed():
            fit_picture(decode_pixels(path.read_bytes(), "it", colour, 1_000_000), form, "it")


@functools.cache
def _forms() -> tuple[Any, ...]:
    """Grey and coloured pictures, and all other ways to fit them."""
    from scanline.data.readers.pictures import picture_format
    from scanline.recipe import DEFAULT_DATA

    kinds = ((1, ""), (3, ""), (1, "ink"), (1, "cover"), (1, "stretch"), (3, "cover"), (3, "stretch"))
    return tuple(
        picture_format(8, 8, channels, DEFAULT_DATA.model_copy(update={"fit": fit}))
        for channels, fit in kinds
    )


def _folders() -> list[Files]:
    from PIL import Image

    def drawn(seed: int, kind: str = "PNG", size: tuple[int, int] = (4, 4)) -> bytes:
        values = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
        return _saved(lambda file: Image.fromarray(values).save(file, kind))

    plain = {f"{name}/{n}.png": drawn(n) for name in ("cat", "dog") for n in range(8)}
    parts = {f"{part}/{n % 2}/{n}.bmp": drawn(n, "BMP") for part in ("train", "test") for n in range(6)}
    return [plain, parts | {"train/notes.txt": b"words"}]
