"""A packed data set has the sequences, the splits and the notes of training directly on its source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from tests.data.packing.conftest import check_same, direct, long_csv

NAN = np.nan


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("columns", [(), ("group",), ("split",)])
def test_a_long_table(packed, tmp_path, shuffle, columns):
    path = long_csv(tmp_path / "long.csv", shuffle=shuffle, columns=columns)
    made = packed(path)
    check_same(made.data, direct(path))
    assert any(note.endswith("rows sorted by id on disk") for note in made.data.notes) == shuffle


@pytest.mark.parametrize("suffix", [".csv.gz", ".tsv", ".parquet"])
def test_a_long_table_of_another_format(packed, tmp_path, suffix):
    frame = pd.read_csv(long_csv(tmp_path / "long.csv", shuffle=True))
    path = tmp_path / f"other{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if suffix == ".tsv" else ",", index=False)
    check_same(packed(path).data, direct(path))


def test_rows_of_a_long_table_in_several_files_are_one_table(packed, tmp_path):
    whole = long_csv(tmp_path / "whole.csv", shuffle=True)
    header, *rows = whole.read_text().splitlines()
    for number in range(11):
        own = rows[number::11]
        (tmp_path / f"part-{number}.csv").write_text("\n".join([header, *own]) + "\n")
    ordered = [row for number in range(11) for row in rows[number::11]]
    whole.write_text("\n".join([header, *ordered]) + "\n")
    found, expected = packed(tmp_path / "part-*.csv").data, direct(whole)
    for name, wanted in expected.splits.items():
        np.testing.assert_array_equal(found.splits[name].concatenated, wanted.concatenated)
        assert found.splits[name].ids.tolist() == wanted.ids.tolist()


def test_integers_of_a_time_stay_exact(packed, tmp_path):
    times = [2**60 + 2, 2**60 + 1, 2**60]
    lines = ["id,time,x,label"]
    lines += [f"{name},{time},{index},{name}" for index, time in enumerate(times) for name in "ab"] * 1
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    made = packed(tmp_path / "long.csv", test=0, validation=0)
    assert made.data.train.concatenated.ravel().tolist() == [2, 1, 0, 2, 1, 0]


def test_fractions_of_a_time_after_integers(packed, tmp_path):
    lines = ["id,time,x,label"]
    lines += [f"{name},{time},{time},{name}" for time in range(30_000) for name in "ab"]
    lines += ["a,2.5,7,a", "b,0.5,8,b"]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    made = packed(tmp_path / "long.csv", test=0, validation=0)
    assert made.data.train.steps_of(0)[:5].ravel().tolist() == [0, 1, 2, 7, 3]
    assert made.data.train.steps_of(1)[:3].ravel().tolist() == [0, 8, 1]


def test_quotes_within_words_need_another_reading(packed, tmp_path):
    lines = ["id,x,label"]
    lines += [f's{index},{step},{"pq"[index % 2]} 5"' for index in range(40) for step in range(3)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    check_same(packed(tmp_path / "long.csv").data, direct(tmp_path / "long.csv"))


def test_times_of_day_that_go_over_midnight(packed, tmp_path):
    clock = ["23:58:00", "23:59:00", "00:00:00", "00:01:00"]
    lines = ["id,time,x,label"]
    lines += [f"s{i},{time},{step},{i % 2}" for step, time in enumerate(clock) for i in range(12)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    made = packed(tmp_path / "long.csv")
    check_same(made.data, direct(tmp_path / "long.csv"))
    assert any("12 of 12 sequences go over midnight" in note for note in made.data.notes)


def test_decimal_commas_and_labels_with_them(packed, tmp_path):
    lines = ["id;time;x;label"]
    lines += [f"s{i};{step};{i},{step};{i % 2},0" for i in range(20) for step in range(3)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    check_same(packed(tmp_path / "long.csv").data, direct(tmp_path / "long.csv"))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_column_that_counts_the_rows_is_left_out(packed, tmp_path, shuffle):
    frame = pd.read_csv(long_csv(tmp_path / "made.csv", shuffle=True))
    frame.insert(0, "index", np.arange(len(frame)))
    frame = frame.sample(frac=1, random_state=0) if shuffle else frame
    frame.to_csv(tmp_path / "long.csv", index=False)
    check_same(packed(tmp_path / "long.csv").data, direct(tmp_path / "long.csv"))


def test_a_wide_table(packed, tmp_path):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(30, 4)).astype(np.float32), columns=list("pqrs"))
    frame["label"] = [["x", "y", "z"][index % 3] for index in range(30)]
    frame.to_csv(tmp_path / "wide.csv", index=False)
    check_same(packed(tmp_path / "wide.csv").data, direct(tmp_path / "wide.csv"))


def test_list_columns(packed, tmp_path):
    draw = np.random.default_rng(0)
    lists = [draw.normal(size=int(draw.integers(1, 6))).astype(np.float32) for _ in range(30)]
    table = pa.table({"id": [f"r{i}" for i in range(30)], "x": lists, "label": [i % 2 for i in range(30)]})
    parquet.write_table(table, tmp_path / "lists.parquet")
    check_same(packed(tmp_path / "lists.parquet").data, direct(tmp_path / "lists.parquet"))


def test_arrays_with_lengths_and_labels_of_bytes(packed, tmp_path):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(30, 5, 2)).astype(np.float32)
    labels = np.array([b"a", b"b", b"c"])[np.arange(30) % 3]
    np.savez(tmp_path / "made.npz", X=X, y=labels, lengths=draw.integers(1, 6, 30), groups=np.arange(30) // 3)
    made, expected = packed(tmp_path / "made.npz"), direct(tmp_path / "made.npz")
    check_same(made.data, expected)
    assert made.data.train.classes == expected.train.classes


def test_arrays_with_splits(packed, tmp_path):
    draw = np.random.default_rng(0)
    parts = {}
    for end, n in (("train", 20), ("test", 10)):
        parts |= {f"X_{end}": draw.normal(size=(n, 3, 1)), f"y_{end}": np.arange(n) % 2}
    np.savez(tmp_path / "made.npz", **parts)
    check_same(packed(tmp_path / "made.npz").data, direct(tmp_path / "made.npz"))


def test_digits(packed):
    check_same(packed("digits").data, direct("digits"))


def ts(path: Path, labels: str, classes: str) -> Path:
    lines = [f"{index}.5,{index}:{label}" for index, label in enumerate(labels)]
    path.write_text("\n".join(["@univariate true", f"@classLabel true {classes}", "@data", *lines]) + "\n")
    return path


def test_files_that_are_a_split_each_and_classes_in_the_order_of_a_header(packed, tmp_path):
    ts(tmp_path / "Made_TRAIN.ts", "ba" * 10, "b a c")
    ts(tmp_path / "Made_TEST.ts", "ab" * 4, "b a c")
    made = packed(tmp_path / "Made")
    check_same(made.data, direct(tmp_path / "Made"))
    assert made.data.train.classes == ("b", "a", "c")


def test_long_tables_that_are_a_split_each(packed, tmp_path):
    long_csv(tmp_path / "Made_TRAIN.csv", 30, shuffle=True)
    long_csv(tmp_path / "Made_TEST.csv", 12, seed=1, shuffle=True)
    check_same(packed(tmp_path / "Made").data, direct(tmp_path / "Made"))


def test_a_test_file_that_is_named(packed, tmp_path):
    one, other = long_csv(tmp_path / "one.csv", 30), long_csv(tmp_path / "other.csv", 12, seed=1)
    made = packed(one, settings={"test": str(other)})
    expected = direct(one, test=str(other))
    for name, wanted in expected.splits.items():
        np.testing.assert_array_equal(made.data.splits[name].concatenated, wanted.concatenated)
        assert made.data.splits[name].targets.tolist() == wanted.targets.tolist()


def picture(path: Path, level: int, size: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), level, np.uint8)).save(path)


@pytest.mark.parametrize("splits", [("",), ("train", "test")])
def test_a_folder_of_pictures_in_pieces(packed, tmp_path, splits, monkeypatch):
    monkeypatch.setattr("scanline.data.packing.intake.Intake.chunk_bytes", 3 * 36)  # three pictures
    for place, split in enumerate(splits):
        for index in range(20):
            picture(
                tmp_path / "pets" / split / ["cat", "dog"][index % 2] / f"{index}.png", index + 100 * place
            )
    (tmp_path / "pets" / "notes.txt").write_text("ignored")
    check_same(packed(tmp_path / "pets").data, direct(tmp_path / "pets"))


def test_pictures_that_are_fitted_are_counted_over_all_pieces(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("scanline.data.packing.intake.Intake.chunk_bytes", 3 * 16)
    for index in range(20):
        picture(tmp_path / "pets" / "ab"[index % 2] / f"{index}.png", index, 4 if index < 5 else 6)
    made = packed(tmp_path / "pets", settings={"picture": "4x4"})
    check_same(made.data, direct(tmp_path / "pets", picture="4x4"))
    assert any("15 of 20 pictures fitted to 4 x 4" in note for note in made.data.notes)


def test_several_files_are_one_source_with_the_classes_of_all(packed, tmp_path):
    for number, labels in enumerate((["a", "b"], ["b", "c"])):
        np.savez(tmp_path / f"part{number}.npz", X=np.full((20, 2, 1), number, np.float32), y=labels * 10)
    made = packed(tmp_path / "part*.npz", split=False)
    source = made.data.splits["all"]
    assert source.classes == ("a", "b", "c")
    assert source.targets.tolist() == [0, 1] * 10 + [1, 2] * 10
    assert source.ids.tolist() == [str(number) for number in range(40)]
    assert source.concatenated.ravel().tolist() == [0] * 40 + [1] * 40


def test_padding_is_cut_off_a_long_table(packed, tmp_path):
    lines = ["id,time,x,label"]
    lines += [f"s{i},{step},{'' if step > i % 3 else step},{i % 2}" for i in range(20) for step in range(4)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    made = packed(tmp_path / "long.csv", settings={"pad_value": "nan"})
    check_same(made.data, direct(tmp_path / "long.csv", pad_value="nan"))
    assert made.result.manifest.splits["train"].missing == 0


def test_numbers_as_targets(packed, tmp_path):
    lines = ["id,time,x,label"]
    lines += [f"s{i},{step},{step},{i / 4}" for i in range(20) for step in range(2)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    made = packed(tmp_path / "long.csv", settings={"targets": "numbers"})
    check_same(made.data, direct(tmp_path / "long.csv", targets="numbers"))
    assert made.result.manifest.classes == ()


def test_unlabelled_sequences_are_one_split(packed, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("id,time,x\n" + "".join(f"s{i},{step},{i}\n" for step in range(3) for i in range(9)))
    source = packed(path, split=False, labelled=False).data.splits["all"]
    assert source.classes == ()
    assert source.ids.tolist() == [f"s{i}" for i in range(9)]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [100, 3_000])
def test_the_number_of_buckets_and_chunks_changes_nothing(packed, tmp_path, monkeypatch, shuffle, size):
    path = long_csv(tmp_path / "long.csv", sequences=60, shuffle=shuffle)
    one = packed(path, keep_order=False).result.manifest
    monkeypatch.setattr("scanline.data.packing.stage._BUCKET_BYTES", size)
    monkeypatch.setattr("scanline.data.packing.intake.Intake.chunk_bytes", 10 * size)
    check_same(packed(path).data, direct(path))
    other = packed(path, keep_order=False).result.manifest
    for name, split in one.splits.items():
        assert [each.sha256 for each in split.row_groups] == [
            each.sha256 for each in other.splits[name].row_groups
        ]


def test_rows_that_are_not_together_after_all_are_sorted(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("scanline.data.packing.intake.Intake.chunk_bytes", 2**20)
    lines = ["id,time,x,label"]
    # The first batch has whole sequences only; the last row belongs to the first of them.
    lines += [f"s{i},{step},{i % 7},{i % 2}" for i in range(120_000) for step in range(4)]
    lines.append("s0,4,9,0")
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    made = packed(tmp_path / "long.csv", split=False)
    source = made.data.splits["all"]
    assert len(source) == 120_000
    assert source.steps_of(0).ravel().tolist() == [0, 0, 0, 0, 9]
    assert any(note.endswith("rows sorted by id on disk") for note in made.data.notes)
