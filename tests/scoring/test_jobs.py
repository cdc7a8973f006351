"""Jobs of scoring on this machine: continued, refused, interrupted; by one process and by two."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from scanline.data.packed.location import Location
from scanline.errors import DataError, ScanlineError, UsageError
from scanline.scoring import Scorer, score
from scanline.scoring.job import JOB, SCORES, Scores, read_entry
from scanline.scoring.parts import PartScorer
from scanline.scoring.work import PackedWork
from tests.scoring.packed import pack, table_of
from tests.scoring.processes import MARK, done_units, start, wait_for, workers_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def packed(sequences, tmp_path_factory) -> Path:
    """The sequences as a packed data set of 12 row groups, in three splits."""
    splits = {
        "train": sequences.take(slice(0, 70)),
        "validation": sequences.take(slice(70, 90)),
        "test": sequences.take(slice(90, 120)),
    }
    return pack(tmp_path_factory.mktemp("packed") / "activity", splits, rows=10)


@pytest.fixture(scope="module")
def unsplit(sequences, tmp_path_factory) -> Path:
    """The sequences as a packed data set without splits, of 120 row groups."""
    return pack(tmp_path_factory.mktemp("packed") / "activity", {"all": sequences}, rows=1)


@pytest.fixture(scope="module")
def scored(run, packed, tmp_path_factory) -> Path:
    """The scores of the packed data set, with the file that is sorted; no test changes them."""
    target = tmp_path_factory.mktemp("scored") / "scores"
    score(run, str(packed), str(target), order="id")
    return target


def content(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in target.iterdir()}


def test_each_sequence_has_one_row_with_the_scores_of_the_scorer(scored, run, sequences):
    names = sorted(path.name for path in scored.glob("part-*"))
    assert len(names) == 12
    assert names[0] == "part-test-000000.parquet"
    table = parquet.read_table(scored / "sorted.parquet")
    expected = Scorer.open(run)(table_of(sequences)).to_pylist()
    splits = ["train"] * 70 + ["validation"] * 20 + ["test"] * 30
    rows = [each | {"split": split} for each, split in zip(expected, splits, strict=True)]
    assert table.to_pylist() == sorted(rows, key=lambda row: row["id"])


def test_the_end_of_a_job_lists_its_parts_and_leaves_nothing_else(scored, run, packed):
    scores = read_entry(Location.parse(scored), SCORES, Scores)
    assert (scores.n, scores.errors, len(scores.parts)) == (120, 0, 12)
    assert (scores.job.source, scores.job.model) == (str(packed), str(run / "model"))
    files = {part.file for part in scores.parts} | {JOB, SCORES, "sorted.parquet"}
    assert {path.name for path in scored.iterdir()} == files


def test_the_same_command_keeps_what_is_valid_and_scores_the_rest_again(scored, run, packed, tmp_path):
    target = shutil.copytree(scored, tmp_path / "scores")
    before = content(target)
    kept = target / "part-train-000002.parquet"
    modified = kept.stat().st_mtime_ns
    (target / "part-train-000001.parquet").unlink()
    damaged = bytearray(before["part-test-000000.parquet"])
    damaged[len(damaged) // 2] ^= 1
    (target / "part-test-000000.parquet").write_bytes(damaged)
    counts = []
    result = score(
        run, str(packed), str(target), on_progress=lambda done, total: counts.append((done, total))
    )
    assert counts == [(100, 120), (110, 120), (120, 120)]
    assert (result.before, result.scores.n) == (100, 120)
    assert content(target) == before
    assert kept.stat().st_mtime_ns == modified


def test_a_job_of_another_model_source_or_option_is_refused(scored, run, filling_run, packed, unsplit):
    def refused(text: str, model: Path = run, source: Path = packed, **options) -> None:
        before = content(scored)
        with pytest.raises(
            UsageError, match=f"has scores of another job: expected {text}; repeat its command"
        ):
            score(model, str(source), str(scored), **options)
        assert content(scored) == before

    refused(f"the model {run}/model, got {filling_run}/model", model=filling_run)
    refused(f"the source {packed}, got {unsplit}", source=unsplit)
    refused("--calibrated False, got True", calibrated=True)
    refused("--stop-at none, got 0.5", stop_at=0.5)
    refused("--split train, validation, test, got test", splits=["test"])


def test_another_data_set_at_the_same_address_is_refused(run, sequences, tmp_path):
    pack(tmp_path / "packed", {"all": sequences.take(slice(0, 5))}, 5)
    score(run, str(tmp_path / "packed"), str(tmp_path / "scores"))
    pack(tmp_path / "packed", {"all": sequences.take(slice(5, 10))}, 5)
    with pytest.raises(UsageError, match=r"expected the source .*/packed, got another one there"):
        score(run, str(tmp_path / "packed"), str(tmp_path / "scores"))


def test_a_folder_with_other_files_is_refused(run, packed, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"--to: expected an absent or empty folder.* which has notes.txt"):
        score(run, str(packed), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_description_of_the_job_is_reported(scored, run, packed, tmp_path):
    target = shutil.copytree(scored, tmp_path / "scores")
    text = (target / JOB).read_text()
    (target / JOB).write_text(text.replace("false", "true", 1))
    with pytest.raises(DataError, match=r"job.json is damaged: its content is not what was saved"):
        score(run, str(packed), str(target))


@pytest.mark.parametrize("damage", ["missing", "bit"])
def test_a_row_group_that_cannot_be_read_ends_the_job_which_continues_when_it_is_back(
    damage, scored, run, packed, tmp_path, scanline
):
    source = shutil.copytree(packed, tmp_path / "packed")
    file = source / "train-000004.parquet"
    original = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(original[:100] + bytes([original[100] ^ 1]) + original[101:])
    code, _, err = scanline("score", run, source, "--to", tmp_path / "scores")
    assert code == 3
    assert err.count("\n") == 1
    fault = {"missing": "no such file", "bit": "expected the content that the manifest describes"}[damage]
    assert f"{file}: " in err
    assert fault in err
    assert "train-000003" in done_units(tmp_path / "scores")
    assert not (tmp_path / "scores" / SCORES).exists()
    file.write_bytes(original)
    assert scanline("score", run, source, "--to", tmp_path / "scores", "--order", "id")[0] == 0
    assert (tmp_path / "scores" / "sorted.parquet").read_bytes() == (scored / "sorted.parquet").read_bytes()


def test_faulty_sequences_are_counted_and_do_not_end_the_job(run, sequences, tmp_path, scanline):
    values = sequences.concatenated.copy()
    values[0, 1] = np.nan
    values[sequences.starts[50]] = np.inf
    pack(tmp_path / "packed", {"all": replace(sequences, concatenated=values)}, 20)
    code, out, _ = scanline("score", run, tmp_path / "packed", "--to", tmp_path / "scores", "--order", "id")
    assert code == 0
    assert out.startswith("120 sequences scored; 2 have an error, no prediction\n")
    rows = parquet.read_table(tmp_path / "scores" / "sorted.parquet").to_pylist()
    assert {row["id"] for row in rows if row["error"]} == {"s0", "s50"}
    assert all((row["prediction"] is None) == (row["error"] is not None) for row in rows)


def test_labels_that_the_model_does_not_know_are_ignored(run, sequences, scored, tmp_path):
    other = replace(sequences, classes=("jumping", "running", "swimming"))
    pack(tmp_path / "packed", {"all": other}, 60)
    score(run, str(tmp_path / "packed"), str(tmp_path / "scores"), order="id")
    one, two = (
        parquet.read_table(each / "sorted.parquet").drop("split") for each in (scored, tmp_path / "scores")
    )
    assert one.equals(two)


def test_sequences_of_another_width_are_refused_at_once(run, tmp_path, scanline):
    from tests.conftest import make_sequences

    pack(tmp_path / "packed", {"all": make_sequences()}, 3)
    code, _, err = scanline("score", run, tmp_path / "packed", "--to", tmp_path / "scores")
    assert code == 3
    assert "packed: expected 2 values a step, found 3; the model was trained on " in err
    assert not (tmp_path / "scores").exists()


def test_a_file_that_predict_reads_is_scored_like_the_packed_data_set(run, csv_file, sequences, tmp_path):
    source = pack(tmp_path / "source", {"all": sequences}, 50)
    score(run, str(csv_file), str(tmp_path / "file"), order="id")
    score(run, str(source), str(tmp_path / "packed"), order="id")
    assert (tmp_path / "file/sorted.parquet").read_bytes() == (
        tmp_path / "packed/sorted.parquet"
    ).read_bytes()


def test_one_split_can_be_scored(run, packed, tmp_path, scanline):
    code, out, _ = scanline("score", run, packed, "--to", tmp_path / "scores", "--split", "test", "--json")
    assert code == 0
    assert json.loads(out)["n"] == 30
    parts = {path.name for path in (tmp_path / "scores").glob("part-*")}
    assert parts == {f"part-test-00000{number}.parquet" for number in range(3)}
    code, _, err = scanline("score", run, packed, "--to", tmp_path / "other", "--split", "tset")
    assert (code, "--split: expected one of train, validation, test" in err) == (2, True)


def test_the_sorted_file_as_csv_has_a_column_for_each_class(run, packed, scored, tmp_path, scanline):
    target = tmp_path / "scores"
    assert scanline("score", run, packed, "--to", target, "--order", "id", "--format", "csv")[0] == 0
    with open(target / "sorted.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = parquet.read_table(scored / "sorted.parquet").to_pylist()
    names = ["high", "low", "middle"]
    columns = [f"probability_{name}" for name in names]
    assert list(lines[0]) == ["id", "split", "prediction", "probability", *columns, "error"]
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    assert [float(line["probability"]) for line in lines] == [row["probability"] for row in rows]
    found = [[float(line[column]) for column in columns] for line in lines]
    assert found == [row["probabilities"] for row in rows]


def test_options_that_do_not_fit_together_are_refused(run, packed, csv_file, tmp_path, scanline):
    target = ["--to", tmp_path / "scores"]
    for arguments, text in (
        ([run, packed, *target, "--format", "csv"], "--format requires --order id"),
        ([run, packed, *target, "--address", "auto"], "--address requires --engine ray"),
        (
            [run, csv_file, *target, "--processes", 2],
            "--processes above 1 requires a packed data set: make one",
        ),
        ([run, packed, "--to", "ftp://host/x"], "expected a path, or a URI that begins with s3://"),
    ):
        code, _, err = scanline("score", *arguments)
        assert (code, err.count("\n"), text in err) == (2, 1, True), err
    assert not (tmp_path / "scores").exists()


def test_what_scanline_data_pack_makes_is_scored_like_its_source(run, csv_file, tmp_path, scanline):
    source = tmp_path / "packed"
    options = ["--no-split", "--unlabelled", "--row-group-mb", "1"]
    assert scanline("data", "pack", csv_file, "--to", source, *options)[0] == 0
    assert scanline("score", run, source, "--to", tmp_path / "one", "--order", "id")[0] == 0
    assert scanline("score", run, csv_file, "--to", tmp_path / "two", "--order", "id")[0] == 0
    one, two = ((tmp_path / name / "sorted.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


def test_scores_that_cannot_be_written_are_reported(run, packed, tmp_path, scanline):
    (tmp_path / "file").write_text("")
    code, _, err = scanline("score", run, packed, "--to", tmp_path / "file" / "scores")
    assert code in (1, 3)
    assert err.count("\n") == 1


@pytest.mark.campaign
def test_two_processes_write_the_bytes_of_one(scored, run, packed, tmp_path):
    score(run, str(packed), str(tmp_path / "scores"), processes=2, order="id")
    assert content(tmp_path / "scores") == content(scored)


@pytest.mark.campaign
@linux
def test_a_killed_process_is_replaced(scored, run, unsplit, tmp_path, monkeypatch):
    target = tmp_path / "scores"
    monkeypatch.setenv(MARK, str(target))
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done and len(killed) < 2:
            killed.append(workers_of(target)[0])
            os.kill(killed[-1], signal.SIGKILL)

    result = score(run, str(unsplit), str(target), processes=2, on_progress=kill, order="id")
    assert len(set(killed)) == 2
    assert result.scores.n == 120
    assert workers_of(target) == []
    assert ids(target) == ids(scored)


def ids(target: Path) -> list[str]:
    names: list[str] = parquet.read_table(target / "sorted.parquet")["id"].to_pylist()
    return names


@pytest.mark.campaign
def test_processes_that_end_again_and_again_end_the_job(run, packed, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ScanlineError, match=r"scoring train-00000.: 3 processes ended .* \(exit code 7\)"):
        score(run, str(packed), str(tmp_path / "scores"), processes=2)


@pytest.mark.campaign
@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_after_an_interruption_nothing_is_missing_and_nothing_twice(
    number, run, unsplit, tmp_path, monkeypatch
):
    target = tmp_path / "scores"
    monkeypatch.setenv(MARK, str(target))
    first = start(run, unsplit, "--to", target, "--processes", 2)
    wait_for(lambda: done_units(target) or first.poll() is not None, "the first part")
    first.send_signal(number)
    _, err = first.communicate()
    assert first.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert err == "scanline: interrupted; the same command continues the job\n"
    wait_for(lambda: not workers_of(target), "the end of the processes")
    before = done_units(target)
    assert 0 < len(before) < 120
    assert score(run, str(unsplit), str(target), order="id").before == len(before)
    score(run, str(unsplit), str(tmp_path / "undisturbed"), order="id")
    assert content(target) == content(tmp_path / "undisturbed")


def test_rows_without_a_valid_shape_in_a_row_group_are_errors(run, sequences, tmp_path):
    source = pack(tmp_path / "packed", {"all": sequences.take(slice(0, 4))}, 4)
    table = table_of(sequences.take(slice(0, 4)))
    lengths = pa.array([int(sequences.lengths[0]), 99, None, int(sequences.lengths[3])], pa.int32())
    parquet.write_table(table.set_column(3, "length", lengths), source / "all-000000.parquet")
    seal_again(source)
    result = score(run, str(source), str(tmp_path / "scores"), order="id")
    assert result.scores.errors == 2
    rows = parquet.read_table(tmp_path / "scores" / "sorted.parquet").to_pylist()
    assert [bool(row["error"]) for row in rows] == [False, True, True, False]


def seal_again(source: Path) -> None:
    """Write the manifest of a packed data set again, with the digest of its first row group."""
    from scanline.data.packed.manifest import read_manifest, write_manifest
    from scanline.storage.digest import sha256

    location = Location.parse(source)
    manifest = read_manifest(location)
    split = manifest.splits["all"]
    bytes_ = (source / split.row_groups[0].file).read_bytes()
    group = split.row_groups[0].model_copy(update={"bytes": len(bytes_), "sha256": sha256(bytes_)})
    changed = split.model_copy(update={"row_groups": [group]})
    write_manifest(location, manifest.model_copy(update={"splits": {"all": changed}}))


def test_a_split_that_is_named_twice_is_scored_once(run, packed, tmp_path):
    scored = score(
        run, str(packed), str(tmp_path / "scores"), splits=["test", "validation", "test"], order="id"
    )
    assert scored.scores.n == 50
    table = parquet.read_table(tmp_path / "scores" / "sorted.parquet")
    assert len(set(table["id"].to_pylist())) == len(table) == 50
    # The order in which splits are named does not make another job.
    again = score(run, str(packed), str(tmp_path / "scores"), splits=["validation", "test"])
    assert again.scores.n == 50


def test_a_source_that_is_replaced_during_a_job_is_not_scored(run, sequences, tmp_path):
    folder = pack(tmp_path / "packed", {"all": sequences.take(slice(0, 20))}, rows=10)
    scorer = Scorer.open(run)
    work = PackedWork.open(Location.parse(folder), [])
    state = PartScorer(scorer, work, Location.parse(tmp_path / "scores"), "job").to_json()
    assert PartScorer.from_json(state).work.digest() == work.digest()
    shutil.rmtree(folder)
    pack(folder, {"all": sequences.take(slice(20, 40))}, rows=10)
    with pytest.raises(DataError, match="expected the packed data set with which the job began"):
        PartScorer.from_json(state)


def test_scores_are_not_written_to_a_file(run, packed, tmp_path):
    (tmp_path / "scores").write_text("a file")
    with pytest.raises(UsageError, match="expected a folder for the scores, got a file"):
        score(run, str(packed), str(tmp_path / "scores"))
