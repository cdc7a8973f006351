"""What to train and how: one complete, validated value, read from TOML and written back to it.

Nothing has a hidden default: a recipe names every key, or names the recipe it is based on (`base = "rows"`)
and then only what differs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from scanline.errors import UsageError, did_you_mean

DEFAULT = "rows"
SIZE_LIMIT_BYTES = 2**20

Count = Annotated[int, Field(strict=True, ge=1)]
Size = Annotated[int, Field(strict=True, ge=1, le=65_536)]
CountOrOff = Annotated[int, Field(strict=True, ge=0)]
PositiveOrOff = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Layers = Annotated[int, Field(strict=True, ge=1, le=64)]
Cell = Literal["rnn", "gru", "lstm"]
DropoutOn = Literal["between", "every"]
Readout = Literal["last", "mean", "max"]
Flag = Annotated[bool, Field(strict=True)]


_ONE_LENGTH = "exactly one of train.samples and train.steps must be above 0, got {} and {}"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """Where the sequences come from and how wide a step is."""

    name: str = Field(description="data set or path; empty: MNIST if it can be had, otherwise digits")
    features: CountOrOff = Field(description="values a step; 0: as wide as the data's rows")


class ModelSettings(_Section):
    """The network and what its weights start from."""

    cell: Cell
    layers: Layers
    hidden_size: Size = Field(description="units in each layer and direction")
    bidirectional: Flag
    classes: CountOrOff = Field(description="outputs; 0: as many as the data has classes")
    dropout: Share = Field(description="share of outputs set to 0 in training")
    dropout_on: DropoutOn = Field(
        description="between: all layers' outputs but the last's, as torch; every: as TensorFlow's wrapper"
    )
    forget_bias: Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)]
    init: Literal["glorot", "orthogonal"] = Field(
        description="glorot: TensorFlow 1's, over the joined kernel; orthogonal: the recurrent weights are"
    )
    head_init: Literal["standard-normal", "truncated-normal", "xavier"]
    readout: Readout = Field(description="which outputs the answer is read from")

    @model_validator(mode="after")
    def _dropout_reaches_something(self) -> ModelSettings:
        if self.dropout and self.dropout_on == "between" and self.layers == 1:
            raise ValueError(
                'model.dropout finds nothing between the layers of one: set model.dropout_on to "every"'
            )
        return self


class TrainSettings(_Section):
    """The optimisation, what computes it, and how often it is looked at."""

    backend: Literal["auto", "native", "torch"] = Field(
        description="native: Scanline's own library or an error; torch: torch's path; auto: native if at hand"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        description="of the LSTM's products in training; answers are always computed in float32"
    )
    batch_size: Size
    samples: CountOrOff = Field(description="train while step x batch_size < samples; 0: use steps")
    steps: CountOrOff = Field(description="train for so many steps; 0: use samples")
    optimizer: Literal["adam", "tf1-adam"] = Field(
        description="tf1-adam: TensorFlow 1's, whose epsilon is added before the bias correction"
    )
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=10, allow_inf_nan=False)]
    schedule: Literal["constant", "one-cycle"]
    warmup: Share = Field(description="one-cycle: share of the steps in which the learning rate rises")
    shift: Annotated[int, Field(strict=True, ge=0, le=64)] = Field(
        description="pictures move by up to so many pixels, differently at each sight; 0: not at all"
    )
    clip_norm: PositiveOrOff = Field(description="largest norm of the gradient; 0: no clipping")
    log_every: CountOrOff = Field(description="steps between log lines; 0: none")
    validate_every: CountOrOff = Field(
        description="steps between looks at the validation part; 0: at the end"
    )
    test_every: CountOrOff = Field(description="steps between looks at the test part; 0: only at the end")
    checkpoint_every: Count = Field(description="steps between checkpoints")
    patience: CountOrOff = Field(
        description="stop after so many validations without a better one, and keep the best; 0: never"
    )

    @model_validator(mode="after")
    def _one_length(self) -> TrainSettings:
        if (self.samples > 0) == (self.steps > 0):
            raise ValueError(_ONE_LENGTH.format(self.samples, self.steps))
        if self.samples and self.total_steps == 0:
            raise ValueError(
                f"train.samples must be above train.batch_size for at least one step, got {self.samples} "
                f"with batches of {self.batch_size}"
            )
        if self.patience and not self.validate_every:
            raise ValueError("train.patience counts validations: set train.validate_every too")
        return self

    @property
    def total_steps(self) -> int:
        """How many steps a whole run has."""
        return self.steps or (self.samples - 1) // self.batch_size


class Recipe(_Section):
    """A complete recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    about: str
    seed: CountOrOff
    data: DataSettings
    model: ModelSettings
    train: TrainSettings

    def to_toml(self) -> str:
        """The recipe as TOML text, every key named; `parse(text)` gives it back."""
        import tomli_w

        return tomli_w.dumps(self.model_dump())


def names() -> list[str]:
    """The names of the recipes that come with Scanline."""
    return sorted(Path(file.name).stem for file in _shipped().iterdir() if file.name.endswith(".toml"))


def _shipped() -> Any:
    return resources.files("scanline").joinpath("recipes")


def load(name_or_file: str, settings: Mapping[str, Any] | None = None) -> Recipe:
    """A shipped recipe by its name, or one from a TOML file, with single values changed.

    settings: dotted key to value, as {"train.batch_size": 64}.
    Raises UsageError that lists every fault of the recipe and the settings at once.
    """
    known = names()
    if name_or_file in known:
        text, source = _shipped().joinpath(f"{name_or_file}.toml").read_text(), f"recipe {name_or_file}"
    elif name_or_file.endswith(".toml") or Path(name_or_file).is_file():
        text, source = _read(Path(name_or_file)), name_or_file
    else:
        raise UsageError(
            f"unknown recipe {name_or_file!r}: expected one of {', '.join(known)}, or a .toml file"
            + did_you_mean(name_or_file, known)
        )
    return parse(text, source, settings or {})


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > SIZE_LIMIT_BYTES:
            raise UsageError(f"{path} is larger than {SIZE_LIMIT_BYTES} bytes: not a recipe")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a recipe: expected TOML in UTF-8 ({error.reason})") from error


def parse(text: str, source: str = "recipe", settings: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in the TOML `text`. source: what to call it in messages. settings: as for `load`."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{source} is not valid TOML: {error}") from error
    base = tree.pop("base", None)
    if base is not None:
        if base not in names():
            raise UsageError(
                f"{source}: base must be one of {', '.join(names())}, got {base!r}"
                + did_you_mean(str(base), names())
            )
        tree = _merge(load(base).model_dump(), tree)
    for key, value in (settings or {}).items():
        _set(tree, key, value)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        message = _describe(source, error.errors(include_url=False), bool(settings))
        train = tree.get("train")
        lengths = [train.get(key) for key in ("samples", "steps")] if isinstance(train, dict) else []
        if lengths == [0, 0] and "exactly one" not in message:  # Pydantic asks this after all else is right
            message += "; " + _ONE_LENGTH.format(*lengths)
        raise UsageError(message) from None


def parse_setting(text: str) -> tuple[str, Any]:
    """`train.batch_size=64` as ("train.batch_size", 64); what is not a TOML value is text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"a setting is written key=value, as train.batch_size=64, got {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError, and so is a number without end
        return key.strip(), value.strip()


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _set(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        child = tree.setdefault(section, {})
        if not isinstance(child, dict):
            raise UsageError(f"unknown setting {dotted!r}{did_you_mean(dotted, keys())}")
        tree = child
    tree[key] = value


def keys() -> list[str]:
    """Every legal dotted key: `seed`, `train.batch_size`, ..."""
    found: list[str] = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            found += [f"{name}.{key}" for key in section.model_fields]
        else:
            found.append(name)
    return found


_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "model_type": "must be a section of its own",
    "finite_number": "must be finite",
    "string_pattern_mismatch": "must be up to 64 letters, digits, dots, dashes and underscores",
}


def _describe(source: str, faults: Iterable[ErrorDetails], overridden: bool) -> str:
    lines = []
    for fault in faults:
        key = ".".join(str(part) for part in fault["loc"])
        kind, context, value = fault["type"], fault.get("ctx", {}), fault["input"]
        if kind == "extra_forbidden":
            lines.append(f"unknown key {key!r}" + _nearest(key))
        elif kind == "missing":
            lines.append(
                f"{key} is missing (base = {DEFAULT!r} at the top takes what is not named from there)"
            )
        elif kind == "value_error":
            lines.append(str(context["error"]))
        elif kind == "literal_error":
            lines.append(
                f"{key} must be one of {context['expected']}, got {value!r}" + _nearest_choice(value, context)
            )
        else:
            shown = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:60]}..."
            lines.append(f"{key} {_rule(kind, context, fault['msg'])}, got {shown}")
    where = f"{source} with these settings" if overridden else source
    return f"{where}: " + "; ".join(lines)


def _nearest(key: str) -> str:
    same_word = [known for known in keys() if known.rpartition(".")[2] == key.rpartition(".")[2]]
    if same_word:  # the right word in the wrong section
        return f"; did you mean {same_word[0]!r}?"
    return did_you_mean(key, [*keys(), *Recipe.model_fields]) or "; `scanline recipes rows` lists them all"


def _nearest_choice(value: Any, context: Mapping[str, Any]) -> str:
    choices = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ",").split(",")]
    return did_you_mean(str(value), choices)


def _rule(kind: str, context: Mapping[str, Any], message: str) -> str:
    for limit, words in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if limit in context:
            return f"must be {words} {context[limit]:g}"
    return _RULES.get(kind, message[:1].lower() + message[1:])
