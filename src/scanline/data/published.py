"""Published data sets of four IDX files each, with their mirrors and checksums."""

from __future__ import annotations

from dataclasses import dataclass

from scanline.data.source import ClassName

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# All data sets have MNIST's sizes.
SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))


@dataclass(frozen=True)
class Entry:
    """A data set.

    Attributes:
        name: Name in the catalogue.
        about: Description for `scanline data list`.
        licence: Licence of the data.
        classes: Names of the classes.
        mirrors: HTTPS folders, tried in order.
        packed_bytes: Sizes of the published .gz files, in the order of `FILES`.
        raw_sha256: Checksums of the uncompressed files; empty if unknown.
        gz_sha256: Checksums of the published .gz files, where those of the uncompressed files are unknown.
    """

    name: str
    about: str
    licence: str
    classes: tuple[ClassName, ...]
    mirrors: tuple[str, ...]
    packed_bytes: tuple[int, ...]
    raw_sha256: tuple[str, ...] = ()
    gz_sha256: tuple[str, ...] = ()


# A mirror whose bytes have another checksum is skipped. MNIST's checksums are those of the original files,
# the others those of torchvision's prototype datasets and several other public programs.
PUBLISHED = (
    Entry(
        name="mnist",
        about="70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes, Burges)",
        licence="CC BY-SA 3.0",
        classes=tuple(range(10)),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        packed_bytes=(9_912_422, 28_881, 1_648_877, 4_542),
        raw_sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    Entry(
        name="fashion-mnist",
        about="70,000 pictures of clothes of 28 x 28 pixels (Zalando Research)",
        licence="MIT",
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        ),
        packed_bytes=(26_421_880, 29_515, 4_422_102, 5_148),
        gz_sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    Entry(
        name="kmnist",
        about="70,000 cursive Japanese characters of 28 x 28 pixels (ROIS-DS Center for Open Data)",
        licence="CC BY-SA 4.0",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        mirrors=(
            # Unreachable at times: https://github.com/rois-codh/kmnist/issues/29
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            # A copy with the published sizes, pinned to the commit of the upload: later commits removed it.
            "https://huggingface.co/datasets/tanganke/kmnist/resolve/756d43e894032ce8838db8b32e7500c9c3b5d050/raw/",
            # The copy of the Internet Archive, which may not have all four files.
            "https://web.archive.org/web/2023id_/http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        packed_bytes=(18_165_135, 29_497, 3_041_136, 5_120),
        gz_sha256=(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
)
