"""What a run is trained on: the recipe and the data set that a request names, or that a run began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from scanline import recipe as recipes
from scanline import tasks
from scanline.data import catalogue
from scanline.data.dataset import Dataset
from scanline.data.default import FALLBACK, read_or_default
from scanline.data.download import Progress
from scanline.data.packed.location import is_uri
from scanline.data.padding import check_padding
from scanline.data.partition import partition
from scanline.data.readers.arrays import Arrays
from scanline.data.readers.tables import is_table
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DataSettings, Recipe

SEQUENCES = "sequences"  # default recipe for sequences that are neither pictures nor recordings
AUDIO = "audio"  # for recordings
TEXT = "text"
STEPS = "steps"  # default recipe for tasks with a target at each step
CLASSES = "classification"  # task of the recipes that are chosen by default
# From here on, integers as labels are more likely numbers than classes.
_MANY_CLASSES, _FEW_EACH = 20, 3
LENGTHS = frozenset({"train.steps", "train.samples", "train.epochs"})


def read_inputs(
    data: str | Arrays | None,
    recipe: str | None,
    settings: Mapping[str, object] | None,
    on_progress: Progress | None = None,
) -> tuple[Recipe, Dataset]:
    """Load the recipe, and read and split the data of a new run.

    Args:
        data: Name or path of a data set, or arrays; None leaves it to the recipe.
        recipe: Name of a recipe or a TOML file. None takes `steps` for tasks with a target at each step,
            `digits` for the digits, `rows` for other pictures, `audio` for recordings, `text` for texts and
            `sequences` for everything else.
        settings: Changes of the recipe, dotted key to value.
        on_progress: Called with (received, total) bytes of a download.

    Returns:
        The recipe, with all that is needed to read the same data again from any directory, and the data.

    Raises:
        UsageError: If the recipe or a setting is not valid.
        DataError: If the data cannot be read.
    """
    chosen, read = read_unsplit(data, recipe, settings, on_progress)
    dataset = partition(read, chosen.split, chosen.input.missing)
    notes = (*(note for note in read.notes if note not in dataset.notes), *dataset.notes)
    return chosen, replace(dataset, notes=notes)


def read_unsplit(
    data: str | Arrays | None,
    recipe: str | None,
    settings: Mapping[str, object] | None,
    on_progress: Progress | None = None,
) -> tuple[Recipe, Dataset]:
    """Do the same, but leave the data as they were read; `partition` makes the splits.

    For the arguments and errors see `read_inputs`.
    """
    if recipe is not None:
        chosen = _with_targets(recipes.load(recipe, settings), data)
        skip = unread(chosen.split.use_test)
        read, note = read_or_default(data or chosen.data.name, chosen.data, on_progress, skip)
    else:
        # The default recipe depends on the data, which are read first, with the settings for reading only.
        _check_for_some_default(data, settings)
        how = {
            key: value
            for key, value in (settings or {}).items()
            if key.partition(".")[0] in ("data", "task") or key == "split.use_test"
        }
        reader = _with_targets(recipes.load(recipes.DEFAULT, how), data)
        skip = unread(reader.split.use_test)
        read, note = read_or_default(data or reader.data.name, reader.data, on_progress, skip)
        default = STEPS if tasks.get(reader.task).per_step else _default_recipe(read)
        chosen = _with_targets(recipes.load(default, settings), data)
    check_padding(read)
    if not _names_task(recipe, settings):
        _ask_for_task(chosen, read)
    if note:
        read = replace(read, notes=(note, *read.notes))
    return _with_address(chosen, read), read


def _names_task(recipe: str | None, settings: Mapping[str, object] | None) -> bool:
    """Whether a request says what is predicted, as the recipe of a run does."""
    if "task" in (settings or {}):
        return True
    return recipe is not None and Path(recipe).is_file() and "task" in recipes.read_tree(Path(recipe))


def _ask_for_task(recipe: Recipe, data: Dataset) -> None:
    """Raise DataError if labels that are taken as classes look like numbers: many integers, few of each."""
    source = data.first
    count = len(source.classes)
    integers = all(isinstance(name, int) and not isinstance(name, bool) for name in source.classes)
    if recipe.task != "classification" or not integers or count < _MANY_CLASSES:
        return
    if len(source) < _FEW_EACH * count:
        raise DataError(
            f"{data.name}: the labels are {count:,} different integers in {len(source):,} sequences: "
            "classes, or numbers? Use --task classification or --task regression"
        )


def unread(use_test: bool) -> tuple[str, ...]:
    """Return the names of the splits that are not read."""
    return () if use_test else ("test",)


def reading_settings(settings: Mapping[str, object]) -> Mapping[str, object]:
    """Return changes of a recipe with `data.targets` as the task in them needs it.

    Raises:
        UsageError: If there is no such task.
    """
    task = settings.get("task")
    if not isinstance(task, str) or settings.get("data.targets"):
        return settings
    return {**settings, "data.targets": tasks.get(task).targets}


def _with_targets(recipe: Recipe, data: str | Arrays | None) -> Recipe:
    """Return the recipe with `data.targets` as its task needs them.

    Raises:
        UsageError: If the recipe asks for other targets than those of the task.
    """
    needed = tasks.get(recipe.task).targets
    if recipe.data.targets not in ("", needed):
        raise UsageError(
            f'data.targets must be "{needed}" or empty for the task {recipe.task}, '
            f"got {recipe.data.targets!r}"
        )
    # Data sets of the catalogue accept no settings: their labels are known.
    named = recipe.data.name if data is None else data
    if needed == "classes" or not named or named in catalogue.names():
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"targets": needed})})


def read_again(recipe: Recipe, data: Arrays | None, on_progress: Progress | None = None) -> Dataset:
    """Read and split the data of a run that is resumed.

    Args:
        recipe: The recipe of the run.
        data: The arrays that it began with, if it did.
        on_progress: Called with (received, total) bytes of a download.

    Raises:
        UsageError: If the run began with arrays and none are given.
        DataError: If the data cannot be read.
    """
    if data is None and not recipe.data.name:
        raise UsageError(
            "this run was trained on arrays of a Python program: resume it with "
            "scanline.train(scanline.Arrays(...), resume=RUN)"
        )
    return partition(read_again_unsplit(recipe, data, on_progress), recipe.split, recipe.input.missing)


def read_again_unsplit(recipe: Recipe, data: Arrays | None, on_progress: Progress | None = None) -> Dataset:
    """Do the same as `read_again`, but leave the data as they were read."""
    skip = unread(recipe.split.use_test)
    read, _ = read_or_default(data or recipe.data.name, recipe.data, on_progress, skip)
    return read


def check_same_data(recipe: Recipe, data: str, run: Path) -> None:
    """Check that data named again on resume are those that the run was trained on.

    Args:
        recipe: The recipe of the run.
        data: Name or path of a data set.
        run: The run directory, for messages.

    Raises:
        UsageError: If they are others; names both.
    """
    if catalogue.address(data) == recipe.data.name:
        return
    began_with = recipe.data.name or "arrays of a Python program"
    raise UsageError(f"{run} cannot be resumed with other data: it was trained on {began_with}, got {data}")


def extend(
    recipe: Recipe, other: str | None, settings: Mapping[str, object] | None, run: Path, n_train: int
) -> Recipe:
    """Return the recipe of a run that is resumed, with the number of steps that is asked for.

    Args:
        recipe: The recipe that the run has.
        other: Name or file of the recipe asked for; None for the run's own.
        settings: Changes of the recipe, dotted key to value.
        run: The run directory, for messages.
        n_train: Number of training sequences.

    Raises:
        UsageError: If anything but the number of steps would change, or the number would be lower; names
            each setting with both values.
    """
    if other is None and not settings:
        return recipe
    wanted = _requested(recipe, other, dict(settings or {}), run)
    wanted = wanted.model_copy(update={"train": wanted.train.limited(n_train)})
    before, after = _flat(recipe.model_dump()), _flat(wanted.model_dump())
    changed = [
        f"{key} ({before[key]} there, {after[key]} wanted)"
        for key in before
        if before[key] != after[key] and key not in LENGTHS
    ]
    if changed:
        raise UsageError(
            f"{run} cannot be resumed with another recipe: {', '.join(changed)}; "
            "only train.steps or train.samples may be raised"
        )
    steps, wanted_steps = recipe.train.total_steps, wanted.train.total_steps
    if wanted_steps < steps:
        raise UsageError(
            f"{run} cannot be resumed with fewer steps: {steps:,} there, {wanted_steps:,} wanted"
        )
    return wanted if wanted_steps > steps else recipe


def _requested(recipe: Recipe, other: str | None, settings: dict[str, object], run: Path) -> Recipe:
    """Return the recipe as it would be with the changes, whatever they are."""
    if other is None:
        wanted = recipes.parse(recipe.to_toml(), f"the recipe of {run}", settings)
        return wanted.model_copy(update={"data": _resolved(wanted.data)})
    wanted = recipes.load(other, settings)
    # What the other recipe leaves to be inferred was inferred when the run began.
    given = {key: value for key, value in _resolved(wanted.data) if value != getattr(DEFAULT_DATA, key)}
    data = recipe.data.model_copy(update=given)
    return wanted.model_copy(update={"data": data, "name": recipe.name, "about": recipe.about})


def _resolved(data: DataSettings) -> DataSettings:
    """Return settings whose paths are absolute, as a run records them."""
    paths = {"test": data.test, "validation": data.validation}
    resolved = {key: str(Path(path).resolve()) if path else "" for key, path in paths.items()}
    name = catalogue.address(data.name) if data.name else ""
    return data.model_copy(update={**resolved, "name": name})


def _flat(tree: Mapping[str, object], stem: str = "") -> dict[str, object]:
    """Return nested settings by dotted key."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{stem}{key}.") if isinstance(value, Mapping) else {stem + key: value}
    return flat


def _check_for_some_default(data: str | Arrays | None, settings: Mapping[str, object] | None) -> None:
    """Raise UsageError if the settings have the same faults in each recipe that may turn out as the default.

    Faults are then reported before the data are read or downloaded.
    """
    named = data or (settings or {}).get("data.name", "")
    if tasks.get(str((settings or {}).get("task", CLASSES))).per_step:
        possible = [STEPS]
    elif named in catalogue.names():
        possible = [FALLBACK if named == FALLBACK else recipes.DEFAULT]
    elif isinstance(named, str) and _is_table(named) and "data.picture" not in (settings or {}):
        possible = [SEQUENCES, TEXT]
    else:
        possible = [recipes.DEFAULT, SEQUENCES, AUDIO, TEXT] if named else [recipes.DEFAULT, FALLBACK]
    source = None if len(possible) == 1 else "the default recipe"
    faults: list[UsageError] = []
    for name in possible:
        try:
            recipes.load(name, settings, source)
        except UsageError as error:
            faults.append(error)
    if len(faults) == len(possible) and len({str(error) for error in faults}) == 1:
        raise faults[0]


def _is_table(name: str) -> bool:
    return not is_uri(name) and is_table(Path(name))


def _default_recipe(data: Dataset) -> str:
    if data.fixed and not data.uri and data.name == FALLBACK:
        return FALLBACK
    if data.first.info.sample_rate:
        return AUDIO
    if data.settings is not None and data.settings.tokens:
        return TEXT
    return recipes.DEFAULT if data.picture is not None else SEQUENCES


def _with_address(recipe: Recipe, data: Dataset) -> Recipe:
    """Return the recipe with absolute paths, and with what was guessed when the data were read."""
    settings = _resolved(data.settings or recipe.data)
    return recipe.model_copy(update={"data": settings.model_copy(update={"name": data.address})})
