"""The two files that hold a Keras model: `.keras`, a ZIP archive, and the older `.h5`, all in HDF5.

Both are taken apart with json and h5py alone, and as if a stranger had made them to do harm: nothing in them
is run or looked up by name, no link in them is followed, and no memory is taken that the file's own bytes do
not account for.
Source: Keras 3.15's src/saving/saving_lib.py and src/legacy/saving/legacy_h5_format.py, and files that
Keras 2.15, 3.0, 3.4 and 3.15 wrote.
"""

from __future__ import annotations

import importlib
import io
import json
import math
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

from scanline.data.found import shown
from scanline.errors import ModelError, UsageError
from scanline.imports.checks import SIZE_LIMIT, check_finite, listed

CONFIG_LIMIT_BYTES, DEPTH_LIMIT = 2**24, 100  # Keras' own are some ten thousand bytes, and 15 deep
WEIGHTS_LIMIT_BYTES = 2**32
_FREE_BYTES, _MOST_EXPANSION = 2**26, 100  # what packed bytes may grow to, whatever they are, and beyond
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_HEAP, _PIECE = struct.Struct("<8sQ"), struct.Struct("<H6xQ")  # how they begin: mark or number, size
_MOST_NAMES, _MOST_NAME_BYTES = 64, 2**16
_REMEDY = "save it again with model.save('NAME.keras')"
# All that zipfile, zlib, HDF5 and h5py make of damaged bytes.
_FAULTS = (
    OSError,
    EOFError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    SystemError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

Side = Literal["", "forward", "backward"]
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Layer:
    """A layer as the file describes it.

    kind: its class. place: how many of its class come before it in the model, by which a `.keras` file names
    what it stores of it; an `.h5` file goes by `name`.
    """

    kind: str
    name: str
    config: dict[str, Any]
    place: int = 0


@dataclass(frozen=True, eq=False)
class KerasFile:
    """An open file.

    config: what it says of the model. version: of the Keras that wrote it, empty if not said. legacy:
    whether weights are stored by the names of the layers, as in `.h5` files. root: of its HDF5 part; size:
    the bytes of that.
    """

    source: Path
    config: dict[str, Any]
    version: str
    legacy: bool
    root: Any
    size: int

    def fault(self, layer: Layer, text: str) -> ModelError:
        """The error that says `text` of a layer."""
        return ModelError(f"{self.source}: layer {shown(layer.name)!r} ({shown(layer.kind)}): {text}")

    def weights(
        self, layer: Layer, shapes: dict[str, Shape], side: Side = "", unread: tuple[str, ...] = ()
    ) -> list[NDArray[np.float32]]:
        """The arrays that `shapes` asks for, in that order, each finite.

        shapes: by the name of the weight, in the order in which Keras makes them; None stands for any size.
        side: of a Bidirectional layer. unread: what else may be stored behind them.
        Raises ModelError naming what is missing, too much, of another shape, or stored in a way that is
        refused.
        """
        with _reading(self.source, f"the weights of layer {shown(layer.name)!r}"):
            find = self._by_name if self.legacy else self._by_place
            found = find(layer, tuple(shapes), side, unread)
            return [self._values(layer, name, found[name], shape) for name, shape in shapes.items()]

    def _by_place(
        self, layer: Layer, names: tuple[str, ...], side: Side, unread: tuple[str, ...]
    ) -> dict[str, Any]:
        folder = _snake_case(layer.kind) + (f"_{layer.place}" if layer.place else "")
        cell = layer.kind not in ("Dense", "Normalization")
        inside = [*([f"{side}_layer"] if side else []), *(["cell"] if cell else []), "vars"]
        # Keras 2.12 and 2.13 had another name for the layers of a functional model.
        home = "layers" if "layers" in self.root else "_layer_checkpoint_dependencies"
        group = self._group(layer, [home, folder, *inside])
        keys = sorted(group.keys(), key=lambda key: (len(key), key))
        expected = [str(index) for index in range(len(names) + len(unread))]
        if keys != expected and keys != expected[: len(names)]:
            raise self.fault(
                layer,
                f"expected {', '.join(names)} as {len(names)} variables, found {listed(keys) or 'none'}",
            )
        return {name: self._open(layer, group, key) for name, key in zip(names, keys, strict=False)}

    def _by_name(
        self, layer: Layer, names: tuple[str, ...], side: Side, unread: tuple[str, ...]
    ) -> dict[str, Any]:
        group = self._group(layer, ["model_weights", *layer.name.split("/")])
        owners: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for path in self._weight_names(layer, group):
            *owner, last = path.split("/")
            part = last.removesuffix(":0")
            if part in owners.setdefault(tuple(owner), {}):
                raise self.fault(layer, f"expected one weight of each name, found two {shown(path)!r}")
            owners[tuple(owner)][part] = [*owner, last]
        parts = self._of_side(layer, owners, side)
        if not set(names) <= set(parts) <= {*names, *unread}:
            raise self.fault(
                layer, f"expected {', '.join(names)}, found {listed(list(parts)) or 'no weights'}"
            )
        return {
            name: self._open(layer, self._group(layer, parts[name][:-1], group), parts[name][-1])
            for name in names
        }

    def _of_side(
        self, layer: Layer, owners: dict[tuple[str, ...], dict[str, list[str]]], side: Side
    ) -> dict[str, list[str]]:
        if len(owners) != (2 if side else 1):
            found = listed(["/".join(owner) for owner in owners]) or "none"
            raise self.fault(
                layer, f"expected the weights of {2 if side else 1} cells, found those of {found}"
            )
        pair = list(owners)
        if not side:
            return owners[pair[0]]
        # The forward layer comes first, unless it alone was frozen: then its name, which Keras gives, tells.
        names = next(((one, two) for one, two in zip(pair[0], pair[1], strict=False) if one != two), ("", ""))
        turned = names[0].startswith("backward_") and names[1].startswith("forward_")
        return owners[pair[(side == "backward") != turned]]

    def _weight_names(self, layer: Layer, group: Any) -> list[str]:
        import h5py

        if "weight_names" not in group.attrs:
            raise self.fault(layer, "expected the attribute weight_names, found none")
        attribute = group.attrs.get_id("weight_names")
        count, dtype = math.prod(attribute.shape), attribute.dtype
        if count == 0:
            return []
        if (
            count > _MOST_NAMES
            or attribute.get_storage_size() > _MOST_NAME_BYTES
            or (dtype.kind != "S" and h5py.check_string_dtype(dtype) is None)
        ):
            raise self.fault(
                layer, f"expected at most {_MOST_NAMES} names of weights, found {count:,} {dtype}"
            )
        return [_text(name) for name in np.ravel(group.attrs["weight_names"])]

    def _group(self, layer: Layer, path: list[str], start: Any = None) -> Any:
        """The group at `path`, one step at a time, so that no link leads elsewhere."""
        import h5py

        group = self.root if start is None else start
        for name in path:
            group = self._member(layer, group, name)
            if not isinstance(group, h5py.Group):
                raise self.fault(layer, f"expected a group {shown('/'.join(path))!r}, found a data set")
        return group

    def _member(self, layer: Layer, group: Any, name: str) -> Any:
        import h5py

        link = None if name in ("", ".", "..") else group.get(name, getlink=True)
        if link is None:
            place = shown(f"{group.name.rstrip('/')}/{name}", 120)
            raise self.fault(layer, f"expected {place!r} among the weights, found none")
        if not isinstance(link, h5py.HardLink):
            raise self.fault(
                layer, f"{shown(name)!r} is a link to elsewhere, which is not followed; {_REMEDY}"
            )
        return group[name]

    def _open(self, layer: Layer, group: Any, name: str) -> Any:
        """The data set `name`, once nothing in it reaches beyond the file or needs more than gzip."""
        import h5py

        found = self._member(layer, group, name)
        if not isinstance(found, h5py.Dataset):
            raise self.fault(layer, f"expected {shown(name)!r} to be a data set, found a group")
        if found.is_virtual or found.external:
            raise self.fault(
                layer, f"{shown(name)!r} keeps its values elsewhere, which is refused; {_REMEDY}"
            )
        settings = found.id.get_create_plist()
        for index in range(settings.get_nfilters()):
            number = settings.get_filter(index)[0]
            if number not in _FILTERS:
                raise self.fault(
                    layer,
                    f"{shown(name)!r} is packed by HDF5's filter {number}; expected gzip or none; {_REMEDY}",
                )
        return found

    def _values(self, layer: Layer, name: str, found: Any, shape: Shape) -> NDArray[np.float32]:
        self._check(layer, name, found, shape)
        with np.errstate(over="ignore"):  # what float32 cannot hold is found next
            values: NDArray[np.float32] = np.asarray(found[()]).astype(np.float32)
        check_finite(self.source, f"{name} of layer {shown(layer.name)!r}", values)
        return values

    def _check(self, layer: Layer, name: str, found: Any, shape: Shape) -> None:
        """Raises ModelError unless it has this shape, and its bytes in the file can fill it."""
        dtype = found.dtype
        if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
            raise self.fault(layer, f"{name}: expected floating-point numbers, found {shown(dtype)}")
        fits = found.shape is not None and len(found.shape) == len(shape)
        sizes = zip(found.shape, shape, strict=True) if fits else ()
        if not fits or any(not 1 <= a <= SIZE_LIMIT if b is None else a != b for a, b in sizes):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise self.fault(layer, f"{name}: expected shape ({wanted}), found {found.shape}")
        needed, stored = math.prod(found.shape) * dtype.itemsize, found.id.get_storage_size()
        chunk = math.prod(found.chunks) * dtype.itemsize if found.chunks else 0
        most = min(WEIGHTS_LIMIT_BYTES, _most(stored) if chunk else stored)
        if max(needed, chunk) > most or not 0 < stored <= self.size:
            raise self.fault(
                layer, f"{name}: expected {needed:,} bytes of values, found {stored:,} in the file; {_REMEDY}"
            )


@contextmanager
def open_keras(source: Path) -> Iterator[KerasFile]:
    """The model in `source`, `.keras` or `.h5`, whatever it is called.

    Raises ModelError if there is none, or it is damaged, too large or holds weights alone; UsageError if h5py
    is not installed.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise UsageError(
            "reading Keras models needs h5py, which is not installed: pip install 'scanline[keras]'"
        ) from None
    try:
        with source.open("rb") as file:
            magic = file.read(len(_HDF5))
            size = file.seek(0, io.SEEK_END)
    except FileNotFoundError:
        raise ModelError(f"there is no {source}; expected a Keras model (.keras, .h5)") from None
    except OSError as error:
        raise ModelError(f"cannot read {source}: {error.strerror or error}") from error
    packed = magic.startswith(_ZIP)
    if not packed and magic != _HDF5:
        raise ModelError(
            f"{source} is no Keras model: expected a ZIP archive (.keras) or HDF5 (.h5), found a file of "
            f"{size:,} bytes that begins with {magic.hex(' ') or 'nothing'}"
        )
    content, config, version = _unpack(source) if packed else (b"", {}, "")
    if not packed:
        _check_heaps(source)
    with _reading(source, "its HDF5 part"):
        root = h5py.File(io.BytesIO(content) if packed else source, "r", locking=False)
    try:
        if not packed:
            with _reading(source, "its attributes"):
                config, version = _legacy_config(source, root)
        yield KerasFile(source, config, version, not packed, root, len(content) if packed else size)
    finally:
        with _reading(source, "its HDF5 part"):
            root.close()


def _check_heaps(source: Path) -> None:
    """Raises ModelError if a heap in which an `.h5` file keeps text is not as the format says.

    From a free piece that says it is 0 bytes long HDF5 2.0 goes on for ever. So every place that it could
    take for a heap is walked here before.
    Source: HDF5 File Format Specification 3.0, III.E "Disk Format: Level 1E - Global Heap".
    """
    with (
        _reading(source, "the file"),
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        most = len(data) // _PIECE.size + 1  # heaps do not lie in each other, so there are no more pieces
        for found in re.finditer(rb"GCOL\x01", data):
            pieces = _count_pieces(data, found.start(), most)
            if pieces is None:
                raise ModelError(
                    f"{source} is damaged: expected a heap of texts at byte {found.start():,}, found pieces "
                    f"that do not fill it; copy it again, or {_REMEDY}"
                )
            most -= pieces


def _count_pieces(data: mmap.mmap, start: int, most: int) -> int | None:
    """Of the heap at byte `start`; None if they are more than `most` or do not fill it as they say."""
    place = start + _HEAP.size
    if place > len(data):
        return None
    end = start + int(_HEAP.unpack_from(data, start)[1])
    if not place <= end <= len(data):
        return None
    count = 0
    while end - place >= _PIECE.size:
        number, size = _PIECE.unpack_from(data, place)
        taken = _PIECE.size + size + -size % 8 if number else size  # a free piece counts its own head
        count += 1
        if count > most or not _PIECE.size <= taken <= end - place:
            return None
        place += taken
    return count


def _unpack(source: Path) -> tuple[bytes, dict[str, Any], str]:
    """(HDF5 part, what is said of the model, version) of a `.keras` file."""
    with _reading(source, "the archive"), zipfile.ZipFile(source) as archive:
        names = archive.namelist()
        for name in (_CONFIG, _WEIGHTS):
            if names.count(name) != 1:
                other = " and model.weights.npz, which is not read" if "model.weights.npz" in names else ""
                raise ModelError(
                    f"{source} is no Keras model: expected one {name} in the archive, found "
                    f"{names.count(name) or 'none'}{other}; {_REMEDY}"
                )
        config = _json(source, _CONFIG, _extract(source, archive, _CONFIG, CONFIG_LIMIT_BYTES))
        version = ""
        if names.count(_METADATA) == 1:
            about = _extract(source, archive, _METADATA, CONFIG_LIMIT_BYTES)
            version = _version(_json(source, _METADATA, about).get("keras_version"))
        return _extract(source, archive, _WEIGHTS, WEIGHTS_LIMIT_BYTES), config, version


def _extract(source: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise ModelError(f"{source}: {name} must be stored or deflated and in the clear; {_REMEDY}")
    most = min(limit, _most(info.compress_size))
    if info.file_size > most:
        raise ModelError(
            f"{source}: {name} is {info.file_size:,} bytes, packed into {info.compress_size:,}; expected at "
            f"most {most:,}"
        )
    with archive.open(info) as member:
        return member.read(limit + 1)  # zipfile stops at what `info` says, and checks the sum


def _most(stored: int) -> int:
    """How many bytes may come out of `stored` packed ones. Weights do not shrink to a hundredth."""
    return max(_FREE_BYTES, stored * _MOST_EXPANSION)


def _legacy_config(source: Path, root: Any) -> tuple[dict[str, Any], str]:
    """(what is said of the model, version) of an `.h5` file."""
    import h5py

    if "model_config" not in root.attrs:
        alone = "layers" in root or "layer_names" in root.attrs or "_layer_checkpoint_dependencies" in root
        raise ModelError(
            f"{source} {'holds weights alone, and' if alone else 'is no Keras model: it'} does not say what "
            "model they belong to: expected the attribute model_config; save the whole by "
            "model.save('NAME.keras'), not model.save_weights"
        )
    attribute = root.attrs.get_id("model_config")
    known = attribute.dtype.kind == "S" or h5py.check_string_dtype(attribute.dtype) is not None
    if attribute.shape != () or not known or attribute.get_storage_size() > CONFIG_LIMIT_BYTES:
        raise ModelError(
            f"{source} is damaged: expected model_config to be a text, found {attribute.dtype} "
            f"{attribute.shape}"
        )
    config = _json(source, "model_config", _text(root.attrs["model_config"]).encode())
    written = root.attrs.get("keras_version", "") if "keras_version" in root.attrs else ""
    return config, _version(_text(written))


def _json(source: Path, name: str, content: bytes) -> dict[str, Any]:
    if len(content) > CONFIG_LIMIT_BYTES:
        raise ModelError(
            f"{source}: {name} is {len(content):,} bytes; expected at most {CONFIG_LIMIT_BYTES:,}"
        )
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source} is damaged: {name} is not valid JSON ({shown(error, 120)})") from error
    if not isinstance(value, dict) or _depth(value) > DEPTH_LIMIT:
        raise ModelError(
            f"{source} is damaged: expected {name} to be an object, at most {DEPTH_LIMIT} deep, found "
            f"{shown(content[:60].decode(errors='replace'))}"
        )
    return value


def _depth(value: Any) -> int:
    """How deep lists and objects lie in each other; found level by level, so that no depth is too deep."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for group in inner for each in group if isinstance(each, dict | list)]
    return depth


def _text(value: Any) -> str:
    """What h5py gives for a string: bytes from old files, str from new ones."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _version(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"\d[\w.+-]{0,39}", value) else ""


def _snake_case(kind: str) -> str:
    """As Keras names the folder of a layer: SimpleRNN -> simple_rnn."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()


@contextmanager
def _reading(source: Path, what: str) -> Iterator[None]:
    """Turns what the libraries raise over damaged bytes into ModelError."""
    try:
        yield
    except _FAULTS as error:
        said = shown(error, 160) or type(error).__name__
        raise ModelError(f"{source} is damaged: {what} cannot be read ({said}); copy it again") from error
