"""How sequences as read become what the network reads: view, imputation and cutting, saved with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.padding import without_padding
from scanline.data.picture_format import PictureFormat
from scanline.data.readers.pictures import picture_format
from scanline.data.source import Layout, SequenceSource
from scanline.data.static_features import one_step_each, with_static
from scanline.data.stored import StoredSource, Transform
from scanline.data.time_features import TimeKind, feature_names
from scanline.data.transforms.imputer import Imputer, feature_means
from scanline.data.transforms.log_mel import LogMel
from scanline.data.transforms.views import View, check_divisible, cut_steps
from scanline.data.vocabulary import MISSING, UNKNOWN, Vocabulary, check_kinds, number_of
from scanline.data.windows import Windows
from scanline.errors import DataError, UsageError, join_names
from scanline.limits import exceeded, limit_of
from scanline.recipe import (
    DEFAULT_DATA,
    CountOrOff,
    DataSettings,
    Finite,
    InputSettings,
    Missing,
    Size,
    ViewName,
    change_data_settings,
)

# How files are written; `Preprocessing.with_reading` changes it.
DIALECT = ("separator", "decimal", "encoding", "time_format", "sheet", "white", "resample")
# The settings that name a file, or files.
FILES = ("name", "test", "validation", "group_pattern", "test_pattern", "validation_pattern")


@dataclass(frozen=True)
class Preprocessing:
    """The transforms between a source and the network, but for scaling, which the network has itself.

    Attributes:
        picture: How a picture file becomes a sequence of its rows; None if the model reads no pictures.
        view: How a picture is cut into steps, as in the recipe.
        permutation_seed: Seed of the view "permuted".
        source_features: Number of values of a step as read.
        features: Number of values of a step as the network reads it.
        missing: How missing values are replaced, as in the recipe.
        means: Training means of the features, if `missing` needs them.
        settings: How data were read, to read more of the same kind; it names no file.
        log_mel: How recordings become steps; None if the model reads no recordings.
        vocabularies: The categories of each categorical feature, in the order of the features.
        static: Indices of the features with one value for a whole sequence.
        time_kind: What the times are that features are computed of, see `data.time_features`; "" if none are.
        windows: How the network's steps are cut into windows; None: the network reads whole sequences.
    """

    picture: PictureFormat | None
    view: ViewName
    permutation_seed: CountOrOff
    source_features: Size
    features: Size
    missing: Missing
    means: tuple[Finite, ...]
    settings: DataSettings
    log_mel: LogMel | None = None
    vocabularies: tuple[Vocabulary, ...] = ()
    static: Annotated[tuple[CountOrOff, ...], Field(max_length=limit_of("FEATURES"))] = ()
    time_kind: TimeKind = ""
    windows: Windows | None = None

    @classmethod
    def fit(cls, data: Dataset, settings: InputSettings) -> Self:
        """Fit the transforms to the training split.

        Args:
            data: The data set, as it was read and split.
            settings: The section "input" of the recipe.

        Raises:
            UsageError: If the settings do not fit the data; names the setting.
        """
        if data.picture is None and settings.view != "rows":
            raise UsageError(
                f"input.view must be rows for {data.name}, which has no pictures, got {settings.view}"
            )
        fitted = cls._fit(data, settings)
        return replace(fitted, windows=fitted._fit_windows(data, settings)) if settings.window else fitted

    @classmethod
    def _fit(cls, data: Dataset, settings: InputSettings) -> Self:
        """Fit everything but the windows."""
        preprocessing = cls(
            data.picture,
            settings.view,
            settings.permutation_seed,
            data.train.features,
            0,
            settings.missing,
            (),
            _settings_to_read(data),
        )
        if data.first.info.sample_rate:
            return preprocessing._with_log_mel(data, settings)
        view = preprocessing.picture_view
        width = settings.features or (view.features if view else data.train.features)
        if data.first.info.static and width != data.train.features:
            raise UsageError(
                f"input.features must be 0 for {data.name}, which has static columns, got {width}"
            )
        widest = max(width, data.train.features)
        if widest > limit_of("FEATURES"):
            raise UsageError(f"{data.name}: {exceeded('FEATURES', widest)}")
        preprocessing = replace(
            preprocessing,
            features=width,
            vocabularies=_vocabularies(data, width, settings.minimum_count),
            static=data.first.info.static,
            time_kind=data.first.info.time_kind,
        )
        if settings.missing not in ("mean", "forward-fill"):
            return preprocessing
        # Means belong to the features of the network's steps, so they are fitted after cutting.
        cut = preprocessing._transformed(data.train, preprocessing.cut, "cut", fills=False)
        imputer = Imputer.fit(settings.missing, cut)
        return replace(preprocessing, means=_with_static_means(imputer.means, data.train))

    def _with_log_mel(self, data: Dataset, settings: InputSettings) -> Self:
        """Return the same for recordings. Raises UsageError if a setting does not fit them."""
        if settings.missing != "error":
            raise UsageError(f'input.missing must be "error" for recordings, got "{settings.missing}"')
        if settings.features not in (0, settings.mels):
            raise UsageError(
                f"input.features must be 0 or input.mels ({settings.mels}) for recordings, "
                f"got {settings.features}"
            )
        log_mel = LogMel.of(data.first.info.sample_rate, settings)
        log_mel.check()
        return replace(self, features=log_mel.mels, log_mel=log_mel)

    def _fit_windows(self, data: Dataset, settings: InputSettings) -> Windows | None:
        """Return the windows. Raises UsageError if there are none of such data."""
        kind = "pictures" if self.picture is not None else "packed data"
        if self.picture is not None or any(each.layout is not None for each in data.splits.values()):
            raise UsageError(
                f"input.window must be empty for {data.name}: {kind} cannot be cut into windows, "
                f"got {settings.window}"
            )
        intervals = data.first.info.intervals
        step = 0.0 if intervals is None else intervals.median
        if self.log_mel is not None:
            step = self.log_mel.hop
        return Windows.of(settings, step, data.name)

    def with_reading(self, changes: Mapping[str, Any]) -> Self:
        """Return the same, which reads files of another dialect.

        Args:
            changes: New values of the settings in `DIALECT`, by key.

        Raises:
            UsageError: If a setting is not one of them, or a value is not legal.
        """
        if unknown := [key for key in changes if key not in DIALECT]:
            raise UsageError(f"expected settings {', '.join(DIALECT)}, got {join_names(unknown)}")
        return replace(self, settings=change_data_settings(self.settings, changes))

    @property
    def picture_view(self) -> View | None:
        """The view of pictures; None if the model reads no pictures."""
        picture = self.picture
        if picture is None:
            return None
        return View(self.view, picture.height, picture.width, picture.channels, self.permutation_seed)

    @property
    def sample_rate(self) -> int:
        """Samples a second of the recordings that the model reads; 0 if it reads none."""
        return self.settings.sample_rate

    def step_count(self, length: int, width: int) -> int:
        """Return the number of steps that the network reads of a sequence, those of all windows together.

        Args:
            length: Its steps as they are given; of a recording its samples.
            width: Values of such a step.
        """
        steps = int(self.cut_lengths(np.array([length]), width)[0])
        return steps if self.windows is None else self.windows.steps_read(steps)

    def cut_lengths(self, lengths: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """Return the number of steps of the network, (N,), of sequences of these lengths.

        Args:
            lengths: (N,) steps as they are given; of recordings samples.
            width: Values of such a step.
        """
        if self.log_mel is not None and width == self.source_features:
            return np.asarray(self.log_mel.count(lengths), np.int64)
        return lengths * width // self.features

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the values of a step as it is read; empty if they have none."""
        names = self.settings.feature_columns
        if names and self.time_kind:
            names = (*names, *feature_names(self.settings.time_features, self.settings.time_column))
        return names if len(names) == self.source_features else ()

    @property
    def imputer(self) -> Imputer:
        """The transform that replaces missing values."""
        return Imputer(self.missing, self.means)

    def as_picture(self, values: NDArray[Any]) -> NDArray[np.uint8] | None:
        """Return the steps (T, F) of one sequence as the picture that they are.

        Returns:
            (height, width) or (height, width, 3), 0 to 255; None if the model reads no pictures.
        """
        view = self.picture_view
        if view is None or self.picture is None:
            return None
        rows = view.undo(values[None])[0].reshape(view.height, view.width, view.channels)
        scaled: NDArray[np.uint8]
        scaled = np.rint(rows.astype(np.float64) * (255 / self.picture.levels)).clip(0, 255).astype(np.uint8)
        return scaled[..., 0] if view.channels == 1 else scaled

    def cut(self, source: MemorySource) -> MemorySource:
        """Return sequences cut into the steps of the network; missing values stay NaN."""
        if self.log_mel is not None:
            return source if source.features == self.features else self.log_mel.apply(source)
        view = self.picture_view
        return cut_steps(source if view is None else view.see(source), self.features)

    @overload
    def prepare(self, source: MemorySource) -> MemorySource: ...
    @overload
    def prepare(self, source: SequenceSource) -> SequenceSource: ...
    def prepare(self, source: SequenceSource) -> SequenceSource:
        """Return sequences, as they were read, as the network reads them.

        Stored sequences are prepared when they are read.

        Raises:
            DataError: If the shape does not fit; names both shapes.
        """
        self.check(source.shape, source.name)
        self.check_rate(source)
        info = source.info
        if info.time_kind and info.time_kind != self.time_kind:
            raise DataError(
                where=f"{source.name}: the time column",
                expected=f"{self.time_kind}, as in training",
                found=info.time_kind,
            )
        check_kinds(info.categories, self.vocabularies, info.feature_names, source.name)
        return self._transformed(source, self._prepare, "prepare", fills=True)

    def _prepare(self, source: MemorySource) -> MemorySource:
        source = with_static(without_padding(source, self.settings.pad_value), self.static)
        imputer = self.imputer
        # Carry before cutting, fill after: a cut step may hold several values of one feature side by side.
        return self._with_ids(imputer.fill(self.cut(imputer.carry(source))))

    def _with_ids(self, source: MemorySource) -> MemorySource:
        """Return sequences whose categories are the model's; the ids of others are those of unknown ones."""
        if not self.vocabularies:
            return source
        steps, categories = source.concatenated.astype(np.float32), list(source.info.categories)
        for vocabulary in self.vocabularies:
            feature = vocabulary.feature
            given = categories[feature]
            if given is vocabulary.all_names or given == vocabulary.all_names:
                continue  # they are this model's ids
            ids = vocabulary.ids(categories[feature] or ())
            steps[:, feature] = ids[steps[:, feature].astype(np.int64)]
            categories[feature] = vocabulary.all_names
        return replace(source, concatenated=steps, info=replace(source.info, categories=tuple(categories)))

    def unknown(self, steps: SequenceSource) -> tuple[int, int]:
        """Return how many categories of prepared sequences are unknown to the model, and how many there are.

        Missing values are not counted.
        """
        unknown = present = 0
        for part in steps.parts() if self.vocabularies else ():
            ids = part.steps_between(0, len(part))[:, [each.feature for each in self.vocabularies]]
            unknown += int((ids == UNKNOWN).sum())
            present += int((ids != MISSING).sum())
        return unknown, present

    def encode(self, rows: Sequence[Sequence[Any]]) -> NDArray[np.float32]:
        """Return steps whose categories are names as steps of the network.

        Args:
            rows: (t, F) cells, numbers and names; None and "" are missing.

        Returns:
            (t, F), NaN where a number is missing.

        Raises:
            DataError: If a cell is of the wrong kind; names it.
        """
        kinds: list[Vocabulary | None] = [None] * self.source_features
        for vocabulary in self.vocabularies:
            kinds[vocabulary.feature] = vocabulary
        encoded = np.empty((len(rows), self.source_features), np.float32)
        for place, row in enumerate(rows):
            if len(row) != self.source_features:
                raise DataError(
                    where="the steps", expected=f"{self.source_features} values in a step", found=len(row)
                )
            encoded[place] = [number_of(cell, kind) for cell, kind in zip(row, kinds, strict=True)]
        return encoded

    def _transformed(
        self, source: SequenceSource, change: Callable[[MemorySource], MemorySource], kind: str, fills: bool
    ) -> SequenceSource:
        """Return sequences with a change applied, those in memory now and stored ones when they are read.

        Args:
            source: The sequences.
            change: Cuts them into steps of `features` values, and may fill in missing values.
            kind: Name of the change.
            fills: Whether it fills in missing values.
        """
        if isinstance(source, MemorySource):
            changed = change(source)
            if source.layout is None:
                return changed
            return replace(changed, layout=self._layout_after(source, source.layout, fills))
        assert isinstance(source, StoredSource)
        lengths = source.lengths
        if self.log_mel is not None and source.features != self.features:
            lengths = self.log_mel.count(lengths)
        elif self.features != source.features:
            counts = lengths * source.features
            check_divisible(source, counts, self.features)
            lengths = counts // self.features
        key = f"{kind} {self.view} {self.permutation_seed} {self.features} {self.missing} {self.means}"
        if self.log_mel is not None:
            key += f" {self.log_mel}"
        layout = self._layout_after(source, source.layout, fills)
        return source.transformed(Transform(change, key), lengths, self.features, layout)

    def _layout_after(self, source: SequenceSource, layout: Layout, fills: bool) -> Layout:
        """Return the layout of cut sequences, without statistics that do not hold for their steps."""
        known, statistics = layout.statistics, None
        order = None if self.picture_view is None else self.picture_view.order
        if known is not None and self.features == source.features and order is None:
            statistics = self.imputer.moments(known, source.total_steps) if fills else known
        return replace(layout, statistics=statistics, missing=0 if fills else layout.missing)

    def prepare_all(self, data: Dataset) -> Dataset:
        """Return a data set with all splits prepared."""
        splits = {name: self.prepare(source) for name, source in data.splits.items()}
        return replace(data, splits=splits, view=self.picture_view)

    def check_rate(self, source: SequenceSource) -> None:
        """Check that recordings have the rate that the model reads, and that others are no recordings.

        Raises:
            DataError: Names both.
        """
        found, wanted = source.info.sample_rate, self.sample_rate
        if found in (0, wanted):
            return
        expected = f"recordings of {wanted:,} samples a second" if wanted else "no recordings"
        raise DataError(
            where=source.name,
            expected=f"{expected}, as in training",
            found=f"recordings of {found:,} samples a second",
            remedy="resample them" if wanted else "train a model on recordings",
        )

    def check(self, shape: tuple[int, ...], source: str, trained_on: str = "") -> None:
        """Check that the model can read sequences of a shape.

        Args:
            shape: (N, T, F) of the sequences.
            source: What has this shape, for the message.
            trained_on: The data that the model was trained on, for the message.

        Raises:
            DataError: Names the expected shape and the one that was given.
        """
        picture = self.picture
        if picture:
            wanted = ["N", picture.height, picture.width * picture.channels]
            fits = len(shape) == 3 and list(shape[1:]) == wanted[1:]
        else:
            wanted = ["N", "samples" if self.log_mel else "steps", self.source_features]
            fits = len(shape) == 3 and shape[2] in (self.source_features, self.features)
        if fits and 0 not in shape:
            return
        # (N, F, T) instead of (N, T, F) is a common mistake, hence the hint.
        swapped = len(shape) == 3 and not fits and shape[1] == self.source_features
        raise DataError(
            f"{source}: expected shape ({', '.join(map(str, wanted))}), found {shape}"
            + ("; steps and features seem to be swapped" if swapped else "")
            + (f"; the model was trained on {trained_on}" if trained_on else "")
        )


def _vocabularies(data: Dataset, width: int, minimum: int) -> tuple[Vocabulary, ...]:
    """Return the vocabularies of the training split. Raises UsageError if its steps are cut into others."""
    train = data.train
    kinds = train.info.categories
    if any(kinds) and width != train.features:
        raise UsageError(f"input.features must be 0 for {data.name}, which has categories, got {width}")
    fitted = []
    for feature, names in enumerate(kinds):
        if names is not None:
            counted = one_step_each(train) if feature in train.info.static else train
            codes = counted.steps_between(0, len(counted))[:, feature]
            fitted.append(Vocabulary.fit(feature, names, codes, minimum))
    return tuple(fitted)


def _with_static_means(means: tuple[float, ...], train: SequenceSource) -> tuple[float, ...]:
    """Return the means of features, those of static ones over sequences instead of steps."""
    static = train.info.static
    if not static:
        return means
    own = feature_means(one_step_each(train))
    return tuple(own[feature] if feature in static else mean for feature, mean in enumerate(means))


def _settings_to_read(data: Dataset) -> DataSettings:
    """How to read more data of the same kind, and pictures so that they look the same."""
    # Paths are removed: a model must not name files of the machine that trained it.
    settings = (data.settings or DEFAULT_DATA).model_copy(update=dict.fromkeys(FILES, ""))
    picture = data.picture
    if picture is None:
        return settings
    size = {"picture": f"{picture.height}x{picture.width}", "colour": picture.channels == 3}
    settings = settings.model_copy(update={**size, "fit": picture.fit})
    if picture_format(picture.height, picture.width, picture.channels, settings) == picture:
        return settings
    return settings.model_copy(update={"picture": "none"})  # the digits: picture files have other grey levels
