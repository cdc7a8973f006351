"""How what was read becomes what the network is given. It belongs to the model and travels with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.readers.pictures import picture_format
from scanline.data.splits import Dataset
from scanline.data.transforms.imputer import carried, fill, training_means
from scanline.data.transforms.ink import PictureFormat
from scanline.data.transforms.views import View, cut_steps
from scanline.errors import DataError, UsageError
from scanline.limits import exceeded, limit_of
from scanline.recipe import UNSAID, CountOrOff, DataSettings, Finite, InputSettings, Missing, Size, ViewName

FILES = ("name", "test", "validation")  # the settings that name one


@dataclass(frozen=True)
class Preprocessing:
    """From the sequences of a source to the steps of the network.

    picture: how a picture file becomes a sequence of its rows, or None if the model reads no pictures.
    view, permutation_seed: as in the recipe. source_features: the width of a step as it is read; features: as
    the network reads it. missing: what stands in for a NaN; means: of the features, for that.
    settings: how the source was read, for reading more of the kind; it names no file.
    """

    picture: PictureFormat | None
    view: ViewName
    permutation_seed: CountOrOff
    source_features: Size
    features: Size
    missing: Missing
    means: tuple[Finite, ...]
    settings: DataSettings

    @classmethod
    def of(cls, data: Dataset, wanted: InputSettings) -> Preprocessing:
        """The form that `wanted` asks for, with what has to be learnt from the training part.

        Raises UsageError if the data cannot be seen like that.
        """
        if data.picture is None and wanted.view != "rows":
            raise UsageError(
                f"input.view must be rows for {data.name}, which has no pictures, got {wanted.view}"
            )
        form = cls(
            data.picture,
            wanted.view,
            wanted.permutation_seed,
            data.train.features,
            0,
            wanted.missing,
            (),
            _how_to_read(data),
        )
        width = wanted.features or (form.seen.features if form.seen else data.train.features)
        if max(width, form.source_features) > limit_of("FEATURES"):
            raise UsageError(f"{data.name}: {exceeded('FEATURES', max(width, form.source_features))}")
        form = replace(form, features=width)
        if wanted.missing in ("mean", "forward-fill"):
            form = replace(form, means=training_means(form.cut(data.train)))
        return form

    @property
    def seen(self) -> View | None:
        """The view of pictures, or None."""
        form = self.picture
        if form is None:
            return None
        return View(self.view, form.height, form.width, form.channels, self.permutation_seed)

    def as_picture(self, values: NDArray[Any]) -> NDArray[np.uint8] | None:
        """One sequence's steps, (T, F), as the picture that they are, 0 to 255: (height, width) or (height,
        width, 3); None if they are none."""
        view = self.seen
        if view is None or self.picture is None:
            return None
        rows = view.undo(values[None])[0].reshape(view.height, view.width, view.channels)
        scaled: NDArray[np.uint8]
        scaled = np.rint(rows.astype(np.float64) * (255 / self.picture.levels)).clip(0, 255).astype(np.uint8)
        return scaled[..., 0] if view.channels == 1 else scaled

    def cut(self, sequences: MemorySource) -> MemorySource:
        """`sequences` as the network's steps, with NaN where a value is missing."""
        if self.seen is not None:
            sequences = self.seen.see(sequences)
        return cut_steps(sequences, self.features)

    def prepare(self, sequences: MemorySource) -> MemorySource:
        """`sequences`, as they were read, as the network's steps.

        Raises DataError naming the expected and the found shape.
        """
        self.check(sequences.shape, sequences.name)
        # Before they are cut: several values of one feature may come to stand side by side in a step.
        cut = self.cut(carried(sequences) if self.missing == "forward-fill" else sequences)
        if self.missing == "error":
            return cut
        return fill(cut, (0.0,) * self.features if self.missing == "zero" else self.means)

    def prepare_all(self, data: Dataset) -> Dataset:
        """`prepare` for the parts of a data set."""
        made: dict[str, Any] = {name: self.prepare(part) for name, part in data.parts.items()}
        return replace(data, view=self.seen, **made)

    def check(self, found: tuple[int, ...], source: str, trained_on: str = "") -> None:
        """Raises DataError naming both shapes if sequences of the shape `found` are none of this form."""
        form = self.picture
        if form:
            wanted = ["N", form.height, form.width * form.channels]
            fits = len(found) == 3 and list(found[1:]) == wanted[1:]
        else:
            wanted = ["N", "steps", self.source_features]
            fits = len(found) == 3 and found[2] in (self.source_features, self.features)
        if fits and 0 not in found:
            return
        turned = len(found) == 3 and not fits and found[1] == self.source_features
        raise DataError(
            f"{source}: expected shape ({', '.join(map(str, wanted))}), found {found}"
            + ("; steps and features seem to have changed places" if turned else "")
            + (f"; the model was trained on {trained_on}" if trained_on else "")
        )


def _how_to_read(data: Dataset) -> DataSettings:
    """How to read more of the kind of `data`, and pictures so that they look like theirs."""
    settings = (data.settings or UNSAID).model_copy(update=dict.fromkeys(FILES, ""))
    form = data.picture
    if form is None:
        return settings
    own = {"picture": f"{form.height}x{form.width}", "colour": form.channels == 3, "fit": form.fit}
    settings = settings.model_copy(update=own)
    if picture_format(form.height, form.width, form.channels, settings) == form:
        return settings
    return settings.model_copy(update={"picture": "none"})  # of other grey levels than files have: digits
