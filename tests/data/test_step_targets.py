"""Labels of steps: how they are read, taken, padded, counted and split."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.data.loader import Loader
from scanline.data.memory import MemorySource
from scanline.data.order import BatchOrder
from scanline.data.padding import without_padding
from scanline.data.readers.arrays import from_arrays
from scanline.data.reading import read_sources
from scanline.data.splits import hold_out
from scanline.data.step_targets import balanced_steps, count_classes, gather_steps, with_step_classes
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

SETTINGS = DEFAULT_DATA.model_copy(update={"targets": "step-classes"})
TABLE = "id,time,x,label\na,0,1,up\na,1,2,\nb,5,3,down\nb,4,4,up\na,2,5,down\n"


def read(tmp_path, text=TABLE, settings=SETTINGS, name="steps.csv", optional=()):
    path = tmp_path / name
    path.write_text(text)
    return read_sources(path, settings, optional)


def source_of(lengths=(3, 1, 4), targets=(0, -1, 1, 2, 2, 1, 0, -1), classes=("a", "b", "c")):
    values = np.arange(len(targets), dtype=np.float32)[:, None]
    zeros = np.zeros(len(lengths), np.int64)
    return MemorySource(values, np.array(lengths), zeros, classes, step_targets=np.array(targets))


def test_a_long_table_has_a_label_at_each_step_in_the_order_of_time(tmp_path):
    source = read(tmp_path)["all"]
    assert source.classes == ("down", "up")
    assert source.lengths.tolist() == [3, 2]
    assert source.concatenated[:, 0].tolist() == [1, 2, 5, 4, 3]
    assert source.step_targets.tolist() == [1, -1, 0, 1, 0]
    assert source.targets.tolist() == [0, 0]


def test_a_tsv_and_a_parquet_file_are_read_alike(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    expected = read(tmp_path)["all"]
    tabs = read(tmp_path, TABLE.replace(",", "\t"), name="steps.tsv")["all"]
    table = pa.table(
        {
            "id": list("aabba"),
            "time": [0, 1, 5, 4, 2],
            "x": [1.0, 2.0, 3.0, 4.0, 5.0],
            "label": ["up", None, "down", "up", "down"],
        }
    )
    parquet.write_table(table, tmp_path / "steps.parquet")
    for other in (tabs, read_sources(tmp_path / "steps.parquet", SETTINGS)["all"]):
        assert other.step_targets.tolist() == expected.step_targets.tolist()
        assert other.classes == expected.classes


def test_a_label_that_changes_is_an_error_of_a_classification_that_names_the_task(tmp_path):
    with pytest.raises(DataError, match=r"line 3.*expected one label.*use --task step-classification"):
        read(tmp_path, settings=DEFAULT_DATA)


def test_an_invalid_label_is_reported_at_its_line(tmp_path):
    with pytest.raises(DataError, match=r"line 3: expected a label, an integer or text, found 2.5"):
        read(tmp_path, "id,time,x,label\na,0,1,1\na,1,2,2.5\nb,0,3,2\n")


def test_a_split_column_leaves_the_classes_of_the_training_split(tmp_path):
    text = "id,time,x,label,split\n" + "".join(
        f"{name},{time},1,{label},{split}\n"
        for name, split, labels in (("a", "train", "yx"), ("b", "test", "zx"))
        for time, label in enumerate(labels)
    )
    sources = read(tmp_path, text)
    assert sources["train"].classes == ("x", "y")
    assert sources["train"].step_targets.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"line 4: expected a class of the model, one of x, y, found z"):
        with_step_classes(sources["test"], sources["train"].classes, "the model")


@pytest.mark.parametrize(
    ("text", "shape"), [("x0,x1,label\n1,2,a\n3,4,b\n", ""), ("id,x,label\na,1,u\nb,2,v\n", "wide")]
)
def test_a_wide_table_is_refused(tmp_path, text, shape):
    settings = SETTINGS.model_copy(update={"shape": shape})
    with pytest.raises(DataError, match="expected a label for each step, as in a long table"):
        read(tmp_path, text, settings)


def test_sequences_to_predict_need_no_labels(tmp_path):
    source = read(tmp_path, "id,time,x\na,0,1\na,1,2\n", optional=("label", "group", "split"))["all"]
    assert source.step_targets is None
    assert not source.has_targets


def test_arrays_have_labels_of_steps():
    values = np.zeros((2, 3, 2), np.float32)
    padded = from_arrays(values, np.array([[0, -1, 2], [1, 0, 5]]), lengths=[3, 2], settings=SETTINGS)
    assert padded.classes == (0, 1, 2)
    assert padded.step_targets.tolist() == [0, -1, 2, 1, 0]
    listed = from_arrays(
        [values[0], values[1, :2]], [["a", None, float("nan")], ["b", ""]], settings=SETTINGS
    )
    assert listed.classes == ("a", "b")
    assert listed.step_targets.tolist() == [0, -1, -1, 1, -1]


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ([0, 1], r"sequence 0: expected a label for each of 3 steps, found one label"),
        ([[0, 1, 1]], r"expected labels of the steps of 2 sequences, found 1 rows"),
        ([[0, 1, 1], [0, 1]], r"sequence 1: expected a label for each of 3 steps, found 2"),
        ([[0, 1, 1], [0, 1, 1, 0]], r"sequence 1: expected a label for each of 3 steps, found 4"),
        (5, r"expected labels of the steps of 2 sequences, found int"),
        ([[0, 1.5, 1], [0, 1, 1]], r"sequence 0, step 1: expected a label, an integer or text, found 1.5"),
    ],
)
def test_labels_that_do_not_fit_the_sequences_are_refused(labels, fault):
    with pytest.raises(DataError, match=fault):
        from_arrays(np.zeros((2, 3, 1), np.float32), labels, settings=SETTINGS)


def test_the_targets_of_all_steps_are_needed():
    with pytest.raises(DataError, match=r"8 steps need as many targets"):
        MemorySource(
            np.zeros((8, 1), np.float32), np.array([8]), np.zeros(1, np.int64), ("a",),
            step_targets=np.zeros(7, np.int64),
        )  # fmt: skip


@pytest.mark.parametrize("indices", [np.array([2, 0]), slice(1, None), slice(None, None, -1)])
def test_taken_sequences_keep_the_targets_of_their_steps(indices):
    source = source_of()
    taken = source.take(indices)
    order = np.arange(3)[indices]
    parts = np.split(source.step_targets, [3, 4])
    assert taken.step_targets.tolist() == np.concatenate([parts[i] for i in order]).tolist()
    uniform = source_of((4, 4)).take(np.array([1]))
    assert uniform.step_targets.tolist() == [2, 1, 0, -1]


def test_padding_is_removed_from_the_targets_too():
    source = source_of()
    values = source.concatenated.copy()
    values[[2, 7]] = np.nan
    kept = without_padding(MemorySource(
        values, source.lengths, source.targets, source.classes, step_targets=source.step_targets
    ), "nan")  # fmt: skip
    assert kept.lengths.tolist() == [2, 1, 3]
    assert kept.step_targets.tolist() == [0, -1, 2, 2, 1, 0]


def test_targets_of_a_batch_are_padded_with_no_label():
    source = source_of()
    padded = gather_steps(source.step_targets, source.lengths, source.starts, np.array([1, 2, 0]), 5)
    assert padded.tolist() == [[2, -1, -1, -1, -1], [2, 1, 0, -1, -1], [0, -1, 1, -1, -1]]


def test_the_fingerprint_depends_on_the_targets_of_steps():
    other = source_of(targets=(0, -1, 1, 2, 2, 1, 0, 0))
    assert source_of().fingerprint() == source_of().fingerprint() != other.fingerprint()


def test_labels_are_counted_by_step():
    counts, unlabelled = count_classes(source_of())
    assert (counts.tolist(), unlabelled) == ([2, 2, 2], 2)


def test_balanced_classes_have_equal_weight_over_the_labelled_steps():
    source = source_of(targets=(0, 0, 0, 1, -1, -1, 0, -1))
    assert balanced_steps(source).tolist() == pytest.approx([5 / (2 * 4), 5 / 2, 0])


def test_splits_are_drawn_at_random_and_by_group():
    source = source_of((2,) * 10, (0, 1) * 10)
    kept, held = hold_out(source, 0.3, 0)
    assert (len(kept), len(held)) == (7, 3)
    groups = np.array(list("aabbccddee"))
    grouped = MemorySource(
        source.concatenated, source.lengths, source.targets, source.classes, groups=groups,
        step_targets=source.step_targets,
    )  # fmt: skip
    kept, held = hold_out(grouped, 0.2, 0)
    assert set(groups[kept]).isdisjoint(groups[held])


def test_batches_have_targets_weights_and_the_number_of_labels():
    source = source_of()
    loader = Loader(source, BatchOrder(3, 2, 0), class_weights=np.array([1, 2, 3], np.float32))
    whole = loader.batch(0)
    chosen = loader.order.at(0)
    T = int(source.lengths[chosen].max())
    expected = gather_steps(source.step_targets, source.lengths, source.starts, chosen, T)
    assert whole.targets.tolist() == expected.tolist() == loader.targets_of(0).tolist()
    assert whole.labelled_steps == (expected >= 0).sum()
    assert whole.weights[whole.targets >= 0].tolist() == (expected[expected >= 0] + 1).tolist()
    part = loader.batch(0, slice(1, 2))
    assert part.labelled_steps == whole.labelled_steps
    assert part.targets.shape == (1, source.lengths[chosen[1]])


def test_steps_that_are_cut_are_refused():
    from scanline.data.transforms.views import cut_steps

    values = np.zeros((8, 2), np.float32)
    source = MemorySource(
        values, np.array([8]), np.zeros(1, np.int64), ("a",), step_targets=np.zeros(8, np.int64)
    )
    with pytest.raises(UsageError, match=r"input.features must be 0 or 2 for a label at each step, got 4"):
        cut_steps(source, 4)
