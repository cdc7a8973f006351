"""Makes an ensemble of runs: finds the validation split that they share, calibrates, and writes a folder.

The test split is not read here. Beside the model, the folder records where the data of the members are, so
that `scanline evaluate` finds the test split later; it does so only if no member can have been trained on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanline.data import catalogue
from scanline.data.checks import check_values
from scanline.data.download import Progress
from scanline.data.partition import partition
from scanline.data.reading import TO_EVALUATE
from scanline.data.source import SequenceSource
from scanline.errors import DataError, UsageError, one_line
from scanline.evaluation.evaluate import known_data
from scanline.model.artifact import Model
from scanline.model.ensemble import Ensemble, make_ensemble
from scanline.model.loading import load
from scanline.model.model_files import find_model
from scanline.recipe import DEFAULT_DATA, DataSettings, SplitSettings
from scanline.training.provenance import DATA_FILE, describe_data, trained_on
from scanline.training.run_directory import RunDirectory

KnownData = tuple[DataSettings, SplitSettings]


@dataclass(frozen=True, eq=False)
class Member:
    """A model that becomes a member of an ensemble.

    Attributes:
        model: The model.
        name: Name of its run.
        known: Where its data are and how they were split; None if unknown.
    """

    model: Model
    name: str
    known: KnownData | None


@dataclass(frozen=True, eq=False)
class MadeEnsemble:
    """An ensemble that was written.

    Attributes:
        model: The ensemble.
        path: Its folder.
        notes: What the user should know: why there is no temperature, or no test split.
    """

    model: Ensemble
    path: Path
    notes: tuple[str, ...]


def ensemble_runs(
    runs: Sequence[str],
    output: str | Path,
    data: str | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> MadeEnsemble:
    """Make one model of several runs, and write it to a folder.

    Args:
        runs: Run directories, model folders or folders of ensembles, whose members are taken.
        output: The folder to create.
        data: Name or path of data to calibrate with, on which no member was trained: their validation split,
            or all of them if they have no splits. None: the validation split that all members share.
        device: "cpu" or "cuda".
        on_progress: Called with (received, total) bytes of a download.

    Raises:
        UsageError: If the runs do not fit together, the folder exists, or `data` cannot be used.
        ModelError: If a run has no usable model.
        DataError: If `data` cannot be read or do not fit.
    """
    folder = Path(output)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} exists already: choose another --output")
    members = read_members(runs, device)
    models = [member.model for member in members]
    # Before any data are read: models that do not fit together are reported at once.
    plain = make_ensemble(models, names=[member.name for member in members])
    known, notes = shared_test(members)
    if data is None or any(each.known and each.known[0].name == catalogue.address(data) for each in members):
        validation, why = common_validation(members, on_progress)
        if why and data is not None:
            raise UsageError(f"{data}: {why}; name data that no member was trained on")
        notes += (
            [f"{why}: the ensemble has no temperature; --data names sequences to fit one on"] if why else []
        )
    else:
        validation = _other_data(members, data, on_progress)
    model = plain if validation is None else make_ensemble(models, validation, names=plain.names)
    save_ensemble(model, folder, known)
    return MadeEnsemble(model, folder, tuple(notes))


def read_members(runs: Sequence[str], device: str = "cpu") -> list[Member]:
    """Read the models of runs, and of an ensemble its members.

    Raises:
        UsageError: If a run is named twice, or has not ended.
        ModelError: If a run has no usable model.
    """
    members: list[Member] = []
    seen: dict[Path, str] = {}
    for run in runs:
        folder = find_model(Path(run)).resolve()
        if folder in seen:
            raise UsageError(f"expected different runs, got {seen[folder]} and {run}, which are the same")
        seen[folder] = run
        _check_finished(run, folder)
        # The members of an ensemble have the same data, or none that are known.
        model, known = load(run, device), trained_on(Path(run))
        name = folder.parent.name if folder.name == "model" else folder.name
        names = model.names if isinstance(model, Ensemble) else [name]
        members += [
            Member(each, own or f"{name}/{number}", known_data(each, known))
            for number, (each, own) in enumerate(zip(model.models, names, strict=True), 1)
        ]
    return members


def _check_finished(run: str, folder: Path) -> None:
    """Raise UsageError if the run of a model folder has not ended."""
    if folder.name != "model":
        return
    result = RunDirectory(folder.parent).read_result()
    if result is not None and not result.training.has_ended:
        raise UsageError(
            f"{run} has not finished training: continue it with `scanline train --resume --run {run}`"
        )


def shared_test(members: Sequence[Member]) -> tuple[KnownData | None, list[str]]:
    """Return where the test split is that all members share, and a note if there is none.

    The test split is drawn before all others, so that members with the same data, fraction and seed have the
    same one. Digests of members that prepare sequences in the same way are compared, too.
    """
    first = members[0]
    for number, member in enumerate(members, 1):
        if first.known is None or member.known is None:
            who = first if first.known is None else member
            why = f"it is unknown where the data of {who.name} are"
        elif _test_of(member.known) != _test_of(first.known) or _changed(member.model, first.model):
            why = f"members 1 and {number} have different test splits"
        else:
            continue
        note = f"{why}: the ensemble has no test split, as members may be trained on its sequences"
        return None, [note]
    assert first.known is not None
    settings, split = first.known
    return (settings, split.model_copy(update={"use_test": True})), []


def common_validation(
    members: Sequence[Member], on_progress: Progress | None = None
) -> tuple[SequenceSource | None, str]:
    """Return the validation split that all members share, as it was read, or why there is none.

    It is read once, and each member shows by the digest in its provenance that it is its own.
    """
    known = next((member.known for member in members if member.known is not None), None)
    if known is None:
        return None, "it is unknown where the data of the members are"
    settings, split = known
    # The test split is left out twice: its file is not opened, and sequences of it are dropped where all
    # splits are drawn from one file.
    form = members[0].model.preprocessing
    try:
        read = catalogue.read(settings.name, settings, on_progress, skip=("test",))
        splits = partition(read, split.model_copy(update={"use_test": False}), form.missing).splits
    except (DataError, UsageError) as error:
        return None, f"the validation split cannot be read ({one_line(str(error), 200)})"
    source = splits.get("validation")
    if source is None:
        return None, "the members have no validation split"
    for member in members:
        # Digests are of the network's steps, which differ between views: each member prepares its own.
        recorded = member.model.provenance.parts.get("validation")
        if recorded is None:
            return None, f"{member.name} has no validation split"
        if member.model.steps(source).fingerprint_like({recorded.sha256}) != recorded.sha256:
            return None, f"the validation split of {member.name} is not the one that was read"
    return source, ""


def save_ensemble(model: Ensemble, folder: Path, known: KnownData | None) -> None:
    """Write an ensemble to a folder, whole or not at all.

    Args:
        model: The ensemble.
        folder: The folder.
        known: Where the data of its members are, for `scanline evaluate`; None if that is unknown.

    Raises:
        ScanlineError: If the folder cannot be written.
    """
    files = {}
    if known is not None:
        files[DATA_FILE] = describe_data(*known)
    model.save(folder, beside=files)


def _test_of(known: KnownData) -> tuple[DataSettings, float, int]:
    """Return everything that decides which sequences are in the test split."""
    settings, split = known
    return settings, split.test, int(split.seed)


def _changed(one: Model, other: Model) -> bool:
    """Whether the test splits of two models differ as far as their digests can tell."""
    # A model that was not tested has no digest: then its data and its seed have to be believed.
    first, second = (model.provenance.parts.get("test") for model in (one, other))
    if first is None or second is None:
        return False
    return first.n != second.n or (one.preprocessing == other.preprocessing and first.sha256 != second.sha256)


def _other_data(members: Sequence[Member], data: str, on_progress: Progress | None) -> SequenceSource:
    """Read sequences to calibrate with that are not the members' own."""
    form = members[0].model.preprocessing
    settings = DEFAULT_DATA if data in catalogue.names() else form.settings
    read = catalogue.read(data, settings, on_progress, TO_EVALUATE)
    source = read.validation or (read.first if len(read.splits) == 1 else None)
    if source is None:
        raise UsageError(f"{data}: expected a validation split or no splits, got {', '.join(read.splits)}")
    check_values(source, form.missing != "error", trained=True)
    # Only a whole split is recognised, since there are no digests of single sequences.
    for member in members:
        parts = member.model.provenance.parts
        digest = member.model.steps(source).fingerprint_like({each.sha256 for each in parts.values()})
        same = [name for name, each in parts.items() if each.sha256 == digest and name != "validation"]
        if same:
            raise UsageError(
                f"{data} is the {same[0]} split of {member.name}: name data that no member was trained on"
            )
    return source
