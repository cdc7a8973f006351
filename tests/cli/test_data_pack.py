"""The command `scanline data pack`: what it prints, and what is refused in one line."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("duckdb")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["id,time,x,label"]
    lines += [f"s{i},{step},{i},{'pq'[i % 2]}" for step in range(4) for i in range(50)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_counts_are_printed_and_notes_go_to_standard_error(scanline, here):
    code, out, err = scanline("data", "pack", "long.csv", "--to", "packed")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"{here}/packed: packed in ")
    assert lines[1:] == [
        "  train: 36 sequences, 144 steps, 1 row group",
        "  validation: 4 sequences, 16 steps, 1 row group",
        "  test: 10 sequences, 40 steps, 1 row group",
    ]
    assert err.splitlines() == [
        f"{'long.csv'}: read as a long table, a row for each step; label column label; id column id; "
        "time column time",
        "long.csv: rows sorted by id on disk",
    ]
    assert sorted(path.name for path in here.iterdir()) == ["long.csv", "packed"]
    assert scanline("data", "show", "packed")[0] == 0


def test_the_result_as_json(scanline, here):
    code, out, _ = scanline("data", "pack", "long.csv", "--to", "packed", "--no-split", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["schema"] == 1
    assert result["splits"] == {"all": {"sequences": 50, "steps": 200, "row_groups": 1}}
    assert (result["features"], result["dtype"], result["classes"]) == (1, "float32", 2)
    assert result["bytes"] > 0
    assert result["resumed"] is False


def test_a_split_is_a_fraction_or_a_path(scanline, here):
    (here / "other.csv").write_text("id,time,x,label\nr0,0,1,p\nr0,1,1,p\nr1,0,2,q\nr1,1,2,q\n")
    code, out, _ = scanline("data", "pack", "long.csv", "--to", "packed", "--test", "other.csv", "--json")
    assert code == 0
    splits = {name: each["sequences"] for name, each in json.loads(out)["splits"].items()}
    assert splits == {"train": 45, "validation": 5, "test": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["nope.csv", "--to", "p"], 3, "nope.csv: no such file or folder"),
        (["*.npz", "--to", "p"], 3, "*.npz: expected files that match the pattern, found none"),
        (
            ["long.csv", "--to", "p", "--test", "1.5"],
            2,
            "a split must be a fraction from 0 to below 1, or",
        ),
        (["s3://bucket/x.csv", "--to", "p"], 2, "expected a path on this machine or a name, got a URI"),
        (["long.csv", "--to", "p", "--unlabelled"], 2, "--unlabelled requires --no-split"),
        (["long.csv", "--to", "p", "--memory", "1MB"], 2, "--memory must be at least 512 MB, got '1MB'"),
        (["long.csv", "--to", "p", "--label-column", "z"], 2, "long.csv: unknown column 'z'"),
        (["long.csv", "--to", "ftp://host/p"], 2, "ftp"),
        (["long.csv", "--to", "long.csv"], 2, "expected a folder to pack to, got a file"),
        (
            ["long.csv", "--to", "."],
            2,
            "expected a new or empty folder to pack to, got",
        ),
        (["long.csv", "--to", "/proc/none/p"], 1, "cannot write /proc/none/.p.packing"),
        (["long.csv", "--to", "p", "--no-split", "--test", "long.csv"], 2, "--test must not be a path"),
        (["digits", "--to", "p", "--shape", "long"], 2, "data.shape must not be set for digits"),
    ],
)
def test_what_cannot_be_packed_is_one_line(scanline, here, arguments, code, expected):
    found, out, err = scanline("data", "pack", *arguments)
    assert (found, out) == (code, "")
    (line,) = err.splitlines()
    assert expected in line
    assert sorted(path.name for path in here.iterdir()) == ["long.csv"]


def test_messages_of_the_python_function_name_no_options(here):
    import scanline
    from scanline.errors import UsageError

    with pytest.raises(UsageError, match=r"^labelled=False requires split=False"):
        scanline.pack("long.csv", "packed", labelled=False)
    assert scanline.pack("long.csv", "packed", split=False, labelled=False).manifest.splits["all"].n == 50
