"""The schema of `model.json`: everything about a model but its weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import FILES, Preprocessing
from scanline.data.transforms.log_mel import LogMel
from scanline.errors import UsageError
from scanline.formats.wav import HIGHEST_RATE, LOWEST_RATE
from scanline.model.network import Architecture

SCHEMA = 7
ENSEMBLE: Literal["ensemble"] = "ensemble"  # the key "kind" of the description of an ensemble
ENSEMBLE_SCHEMA = 1
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Text = Annotated[str, Field(strict=True)]
PRINTED = ("made", "recipe", "licence")  # the texts of a Provenance, which are printed to terminals


class SplitDigest(BaseModel):
    """Size and digest of a split of the data.

    Attributes:
        n: Number of sequences.
        sha256: SHA-256 of them as steps of the network, see `MemorySource.fingerprint`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: Annotated[int, Field(strict=True, ge=0)]
    sha256: str


class TestResult(BaseModel):
    """Result of the model on the test split.

    Attributes:
        n: Number of sequences, or of labelled steps.
        correct: Number of correct predictions.
        accuracy: `correct / n`.
        ci95: Interval of the accuracy: Wilson's, for steps that of a bootstrap over sequences.
    """

    __test__ = False  # not a test of pytest
    model_config = ConfigDict(extra="forbid", frozen=True)
    n: Annotated[int, Field(strict=True, ge=1)]
    correct: Annotated[int, Field(strict=True, ge=0)]
    accuracy: Fraction
    ci95: tuple[Fraction, Fraction]


class Provenance(BaseModel):
    """Where a model comes from.

    Attributes:
        made: How the model was made, in a few words.
        recipe: Name of the recipe; empty if it was not trained by Scanline.
        seed: Seed of the training.
        licence: Licence of the model; empty if unknown.
        parts: Digest of each split of the data, by its name.
        test: Result on the test split; None if it was not tested, or if the task has no accuracy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    made: str = "trained by Scanline"
    recipe: str = ""
    seed: Annotated[int, Field(strict=True, ge=0)] | None = None
    licence: str = ""
    parts: dict[str, SplitDigest] = {}
    test: TestResult | None = None


class TensorDigest(BaseModel):
    """Type, shape and SHA-256 of the bytes of a tensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    dtype: str
    shape: list[int]
    sha256: str


class TaskState(BaseModel):
    """A task by its name, and what its `from_json` needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Text
    state: dict[str, Any]


class Description(BaseModel):
    """Content of `model.json`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    schema_: Literal[7] = Field(alias="schema")
    scanline: str
    architecture: Architecture
    task: TaskState
    input: Preprocessing
    data: str
    temperature: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None
    provenance: Provenance
    tensors: dict[str, TensorDigest]

    @model_validator(mode="after")
    def _check_input(self) -> Description:
        form, width = self.input, self.architecture.input_size
        if any(getattr(form.settings, key) for key in FILES):  # they would be read in place of the user's
            raise ValueError("the settings name a file of data")
        if form.features != width:
            raise ValueError(f"expected steps of {width} features, as the network reads, got {form.features}")
        means = form.features if form.missing in ("mean", "forward-fill") else 0
        if len(form.means) != means:
            raise ValueError(f"expected {means} means for {form.features} features, got {len(form.means)}")
        if form.picture:
            _check_picture(form.picture, form)
        if form.windows is not None and form.picture:
            raise ValueError("expected no windows of pictures")
        if form.log_mel or form.sample_rate:
            _check_recordings(form.log_mel, form)
        known = [(each.feature, each.size) for each in form.vocabularies]
        tables = [(each.feature, each.count) for each in self.architecture.embeddings]
        features = [feature for feature, _ in known]
        if known != tables or features != sorted(set(features)) or any(each >= width for each in features):
            raise ValueError(f"expected tables of the categories {known}, got {tables}")
        if bool(form.time_kind) != bool(form.settings.time_features):
            raise ValueError(f"expected times for the features {form.settings.time_features}")
        static = form.static
        if static != self.architecture.static or len(set(static)) < len(static) or len(static) >= width:
            raise ValueError(f"expected the static features {static}, got {self.architecture.static}")
        if any(each >= width for each in static) or (static and form.features != form.source_features):
            raise ValueError(f"expected static features among {width}, got {static}")
        return self


class MemberRecord(BaseModel):
    """A member of an ensemble; its folder is `members/1` for the first one.

    Attributes:
        name: Name of the run that it comes from; empty if unknown.
        recipe: Name of the recipe; empty if it was not trained by Scanline.
        seed: Seed of the training.
        sha256: SHA-256 of its `model.json`, which has a digest of every weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Text
    recipe: Text
    seed: Annotated[int, Field(strict=True, ge=0)] | None
    sha256: Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]


class EnsembleDescription(BaseModel):
    """Content of the `model.json` of an ensemble; everything else is in those of its members.

    Earlier versions of Scanline refuse it for its schema number.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    kind: Literal["ensemble"] = ENSEMBLE
    schema_: Literal[1] = Field(alias="schema")
    scanline: Text
    data: Text
    temperature: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None
    provenance: Provenance
    members: Annotated[list[MemberRecord], Field(min_length=2)]


def _check_picture(picture: PictureFormat, form: Preprocessing) -> None:
    if not (
        0 < picture.height <= 4096
        and 0 < picture.width <= 4096
        and 0 < picture.box <= min(picture.height, picture.width)
        and 0 < picture.levels <= 255
        and (picture.height * picture.width * picture.channels) % form.features == 0
        and form.source_features == picture.width * picture.channels
    ):
        raise ValueError(f"pictures of {picture} cannot be cut into steps of {form.features}")
    try:
        # Computed only for its error: the view must be possible for these pictures.
        _ = form.picture_view
    except UsageError as error:
        raise ValueError(str(error)) from None


def _check_recordings(log_mel: LogMel | None, form: Preprocessing) -> None:
    if log_mel is None or form.picture or form.missing != "error":
        raise ValueError("expected log-mel steps of recordings, of which no value is missing")
    made = (log_mel.rate, 1, log_mel.mels)
    if made != (form.sample_rate, form.source_features, form.features):
        raise ValueError(f"{log_mel} does not make steps of {form.features} values")
    if not LOWEST_RATE <= log_mel.rate <= HIGHEST_RATE or not 2 <= log_mel.mels <= 256:
        raise ValueError(f"{log_mel} is out of range")
    try:
        log_mel.check()
    except UsageError as error:
        raise ValueError(str(error)) from None


def upgrade(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a `model.json` of schema 3 to 6 as schema 7, and any other unchanged.

    Schema 3 knew classification only and called the provenance "history". Schema 4 has fewer settings for
    reading data, which `DataSettings` fills in. Schema 5 knew neither recordings nor
    categories, schema 6 neither static features, features of the time nor windows.
    """
    if tree.get("schema") == 3 and "classes" in tree and "history" in tree:
        tree = dict(tree)
        state = {"classes": tree.pop("classes")}
        tree |= {
            "schema": 4,
            "task": {"name": "classification", "state": state},
            "provenance": tree.pop("history"),
        }
    return tree | {"schema": SCHEMA} if tree.get("schema") in (4, 5, 6) else tree
