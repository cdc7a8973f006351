"""Keras model files: `.keras`, a ZIP archive, and the older `.h5`, an HDF5 file.

Both are read as untrusted input: nothing in them is executed or imported by name, no link is followed, and no
memory is allocated beyond what the bytes of the file account for.
Source: Keras 3.15's src/saving/saving_lib.py and src/legacy/saving/legacy_h5_format.py, and files that
Keras 2.15, 3.0, 3.4 and 3.15 wrote.
"""

from __future__ import annotations

import io
import json
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError, ModelError, one_line
from scanline.formats.archives import open_archive
from scanline.formats.hdf5 import SIGNATURE, Hdf5
from scanline.interchange.checks import check_finite, listed
from scanline.limits import exceeded, exceeded_unpacked, limit_of, unpacked_limit

DEPTH_LIMIT = 100  # descriptions that Keras writes are about 15 levels deep
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_ZIP = b"PK\x03\x04"
_MOST_MEMBERS = 256  # below the group of a layer
_OLD_HOME = "_layer_checkpoint_dependencies"
_REMEDY = "save it again with model.save('NAME.keras')"
# Raised by zipfile for damaged bytes; ValueError and OSError for offsets outside the file.
_ZIP_FAULTS = (
    FormatError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OSError,
)

Side = Literal["", "forward", "backward"]
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Layer:
    """A layer as the file describes it.

    Attributes:
        kind: Its class.
        name: Its name, by which an `.h5` file stores its weights.
        config: Its settings.
        place: Number of layers of the same class before it, by which a `.keras` file stores its weights.
    """

    kind: str
    name: str
    config: dict[str, Any]
    place: int = 0


@dataclass(frozen=True, eq=False)
class KerasFile:
    """An open file.

    Attributes:
        source: Its path.
        config: Description of the model.
        version: Version of Keras that wrote it; "" if unknown.
        legacy: Whether weights are stored by the names of the layers, as in `.h5` files.
        content: Its HDF5 part.
    """

    source: Path
    config: dict[str, Any]
    version: str
    legacy: bool
    content: Hdf5

    def fault(self, layer: Layer, text: str) -> ModelError:
        """Return an error about a layer."""
        return ModelError(f"{self.source}: layer {one_line(layer.name)!r} ({one_line(layer.kind)}): {text}")

    def weights(
        self, layer: Layer, shapes: dict[str, Shape], side: Side = "", unread: tuple[str, ...] = ()
    ) -> list[NDArray[np.float32]]:
        """Return the weights of a layer in the order of `shapes`, all finite.

        Args:
            layer: The layer.
            shapes: Shapes by the name of the weight, in the order in which Keras creates them; None allows
                any size.
            side: Direction of a Bidirectional layer.
            unread: Further variables that may be stored after them.

        Raises:
            ModelError: Names what is missing, unexpected, of another shape, or not supported.
        """
        with _reading(self.source, f"the weights of layer {one_line(layer.name)!r}"):
            find = self._by_name if self.legacy else self._by_place
            found = find(layer, tuple(shapes), side, unread)
            return [self._values(layer, name, found[name], shape) for name, shape in shapes.items()]

    def _by_place(
        self, layer: Layer, names: tuple[str, ...], side: Side, unread: tuple[str, ...]
    ) -> dict[str, int]:
        folder = _snake_case(layer.kind) + (f"_{layer.place}" if layer.place else "")
        cell = layer.kind not in ("Dense", "Normalization", "BatchNormalization")
        inside = [*([f"{side}_layer"] if side else []), *(["cell"] if cell else []), "vars"]
        # Keras 2.12 and 2.13 had another name for the layers of a functional model.
        home = "layers" if "layers" in self.content.members(self.content.root) else _OLD_HOME
        members = self.content.members(self._group(layer, [home, folder, *inside]))
        # Variables are numbered "0", "1", ... in order of creation; by length first, 10 comes after 9.
        keys = sorted(members, key=lambda key: (len(key), key))
        expected = [str(index) for index in range(len(names) + len(unread))]
        if keys != expected and keys != expected[: len(names)]:
            raise self.fault(
                layer,
                f"expected {', '.join(names)} as {len(names)} variables, found {listed(keys) or 'none'}",
            )
        return {name: self._member(layer, members, key) for name, key in zip(names, keys, strict=False)}

    def _by_name(
        self, layer: Layer, names: tuple[str, ...], side: Side, unread: tuple[str, ...]
    ) -> dict[str, int]:
        home = self._group(layer, ["model_weights", *layer.name.split("/")])
        owners: dict[tuple[str, ...], dict[str, int]] = {}
        for path, address in self._stored(layer, home):
            parts = owners.setdefault(path[:-1], {})
            part = path[-1].removesuffix(":0")
            if part in parts:
                raise self.fault(layer, f"expected one weight of each name, found two {one_line(part)!r}")
            parts[part] = address
        parts = self._of_side(layer, owners, side)
        if not set(names) <= set(parts) <= {*names, *unread}:
            raise self.fault(
                layer, f"expected {', '.join(names)}, found {listed(list(parts)) or 'no weights'}"
            )
        return {name: parts[name] for name in names}

    def _stored(self, layer: Layer, group: int) -> Iterator[tuple[tuple[str, ...], int]]:
        """Yield (path, address) of all data sets below a layer's group."""
        open_groups: list[tuple[tuple[str, ...], int]] = [((), group)]
        seen = 0
        while open_groups:
            path, address = open_groups.pop(0)
            members = self.content.members(address)
            # Groups may contain each other in a cycle: the count of members, not the depth, ends the search.
            seen += len(members)
            if seen > _MOST_MEMBERS:
                raise self.fault(layer, f"expected at most {_MOST_MEMBERS} names below it, found more")
            for name in members:
                member = self._member(layer, members, name)
                if self.content.is_group(member):
                    open_groups.append(((*path, name), member))
                else:
                    yield (*path, name), member

    def _of_side(
        self, layer: Layer, owners: dict[tuple[str, ...], dict[str, int]], side: Side
    ) -> dict[str, int]:
        """Return the weights of one cell. Keras names the one that reads forward forward_NAME."""
        count = 2 if side else 1
        if len(owners) != count:
            found = listed(["/".join(owner) for owner in owners]) or "none"
            raise self.fault(layer, f"expected the weights of {count} cells, found those of {found}")
        if not side:
            return next(iter(owners.values()))
        pairs = zip(*owners, strict=False)
        names = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
        forward = [name.startswith("forward_") for name in names]
        if sum(forward) != 1:
            raise self.fault(layer, f"expected forward_NAME and another, found {listed(names)}")
        return list(owners.values())[forward.index(side == "forward")]

    def _group(self, layer: Layer, path: list[str]) -> int:
        """Return the address of the group at `path` from the root."""
        address = self.content.root
        for name in path:
            address = self._member(layer, self.content.members(address), name)
        return address

    def _member(self, layer: Layer, members: dict[str, int | None], name: str) -> int:
        if name not in members:
            raise self.fault(
                layer,
                f"expected {one_line(name)!r} among the weights, found {listed(list(members)) or 'none'}",
            )
        address = members[name]
        if address is None:
            raise self.fault(
                layer, f"{one_line(name)!r} is a link to elsewhere, which is not followed; {_REMEDY}"
            )
        return address

    def _values(self, layer: Layer, name: str, address: int, shape: Shape) -> NDArray[np.float32]:
        try:
            found = self.content.data_set(address)
            fits = found.shape is not None and len(found.shape) == len(shape)
            sizes = zip(found.shape or (), shape, strict=True) if fits else ()
            if not fits or any(not 1 <= a <= limit_of("UNITS") if b is None else a != b for a, b in sizes):
                wanted = ", ".join("any" if size is None else str(size) for size in shape)
                raise self.fault(layer, f"{name}: expected shape ({wanted}), found {found.shape}")
            values = self.content.read(found, limit_of("MODEL_BYTES"))
        except FormatError as error:
            raise self.fault(layer, f"{name}: {error}; {_REMEDY}") from error
        with np.errstate(over="ignore"):  # values beyond float32 are refused in the next line
            narrow = values.astype(np.float32)
        check_finite(self.source, f"{name} of layer {one_line(layer.name)!r}", narrow)
        return narrow


@contextmanager
def open_keras(source: Path) -> Iterator[KerasFile]:
    """Open a Keras model. The format is recognised by content, not by the suffix.

    Raises:
        ModelError: If the file is missing, damaged or too large, or has weights without a model.
    """
    try:
        if source.exists() and not source.is_file() and not source.is_dir():
            raise ModelError(f"{source} is no Keras model: expected a regular file, got something else")
        with source.open("rb") as file:
            magic = file.read(len(SIGNATURE))
            size = file.seek(0, io.SEEK_END)
            if magic == SIGNATURE:
                # Mapped, not read: only the pages of the weights that are used take memory.
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    yield _legacy(source, content)
                return
    except FileNotFoundError:
        raise ModelError(f"there is no {source}; expected a Keras model (.keras, .h5)") from None
    except OSError as error:
        raise ModelError(f"cannot read {source}: {error.strerror or error}") from error
    if not magic.startswith(_ZIP):
        raise ModelError(
            f"{source} is no Keras model: expected a ZIP archive (.keras) or HDF5 (.h5), found a file of "
            f"{size:,} bytes that begins with {magic.hex(' ') or 'nothing'}"
        )
    yield _unpack(source)


def _unpack(source: Path) -> KerasFile:
    """Read a `.keras` file; its HDF5 part is unpacked into memory."""
    with _reading(source, "the archive", _ZIP_FAULTS), open_archive(source) as archive:
        names = archive.namelist()
        for name in (_CONFIG, _WEIGHTS):
            if names.count(name) != 1:
                other = " and model.weights.npz, which is not read" if "model.weights.npz" in names else ""
                raise ModelError(
                    f"{source} is no Keras model: expected one {name} in the archive, found "
                    f"{names.count(name) or 'none'}{other}; {_REMEDY}"
                )
        config = _json(source, _CONFIG, _extract(source, archive, _CONFIG, "JSON_BYTES"))
        version = ""
        if names.count(_METADATA) == 1:
            about = _extract(source, archive, _METADATA, "JSON_BYTES")
            version = _version(_json(source, _METADATA, about).get("keras_version"))
        content = _extract(source, archive, _WEIGHTS, "MODEL_BYTES")
    return KerasFile(source, config, version, False, _hdf5(source, content))


def _extract(source: Path, archive: zipfile.ZipFile, name: str, limit: str) -> bytes:
    """Return the bytes of a member. `limit` is the name of the limit on its size."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise ModelError(f"{source}: {name} must be stored or deflated and in the clear; {_REMEDY}")
    size, packed = info.file_size, info.compress_size
    # Both limits are checked on the declared size, before any byte is unpacked.
    if size > limit_of(limit):
        raise ModelError(f"{source}: {name}: {exceeded(limit, size)}")
    if size > unpacked_limit(packed):
        raise ModelError(f"{source}: {name}: {exceeded_unpacked(packed, size)}")
    with archive.open(info) as member:
        return member.read(size + 1)  # zipfile stops at `info.file_size` and checks the CRC


def _legacy(source: Path, content: mmap.mmap) -> KerasFile:
    """Read an `.h5` file, which is HDF5 as a whole."""
    found = _hdf5(source, content)
    with _reading(source, "its description"):
        description = found.text(found.root, "model_config", limit_of("JSON_BYTES"))
        version = found.text(found.root, "keras_version", limit_of("JSON_BYTES")) or b""
    if description is None:
        raise ModelError(
            f"{source} does not say what model its weights belong to: expected the attribute model_config; "
            "save the whole model with model.save('NAME.keras'), not model.save_weights"
        )
    config = _json(source, "model_config", description)
    return KerasFile(source, config, _version(version.decode(errors="replace")), True, found)


def _hdf5(source: Path, content: bytes | mmap.mmap) -> Hdf5:
    with _reading(source, "its HDF5 part"):
        return Hdf5(content)


def _json(source: Path, name: str, content: bytes) -> dict[str, Any]:
    if len(content) > limit_of("JSON_BYTES"):
        raise ModelError(f"{source}: {name}: {exceeded('JSON_BYTES', len(content))}")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source} is damaged: {name} is not valid JSON ({one_line(error, 120)})") from error
    if not isinstance(value, dict) or _depth(value) > DEPTH_LIMIT:
        raise ModelError(
            f"{source} is damaged: expected {name} to be an object, at most {DEPTH_LIMIT} deep, found "
            f"{one_line(content[:60].decode(errors='replace'))}"
        )
    return value


def _depth(value: Any) -> int:
    """Return the nesting depth of lists and objects, without recursion: any depth can be measured."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for group in inner for each in group if isinstance(each, dict | list)]
    return depth


def _version(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"\d[\w.+-]{0,39}", value) else ""


def _snake_case(kind: str) -> str:
    """Return the name that Keras gives to the folder of a layer: SimpleRNN -> simple_rnn."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()


@contextmanager
def _reading(source: Path, what: str, faults: tuple[type[Exception], ...] = (FormatError,)) -> Iterator[None]:
    """Turn the errors of damaged bytes into ModelError."""
    try:
        yield
    except faults as error:
        reason = one_line(error, 160) or type(error).__name__
        raise ModelError(f"{source} is damaged: {what} cannot be read ({reason}); copy it again") from error
