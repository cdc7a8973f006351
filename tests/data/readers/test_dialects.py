"""One small data set written in many dialects gives the same sequences or a question, never others."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from scanline.data.reading import read_sources
from scanline.errors import ScanlineError
from scanline.recipe import DEFAULT_DATA

STEPS, N = 4, 4
# Rounded to three decimals, so that every dialect writes the same number; some are integers, some negative.
X = np.round(np.arange(N * STEPS).reshape(N, STEPS) * 1.375 - 7, 3)
Y = np.round(100 - X * 0.5, 3)
CLASSES = ["grün", "rot"]
LABELS = [CLASSES[index % 2] for index in range(N)]
START = datetime(2025, 9, 30, 23, 59, 58)
Answer = list[tuple[str, list[list[float]]]]


@dataclass(frozen=True)
class Dialect:
    """How a table is written, and what reading it gives: the same sequences or a question."""

    name: str
    separator: str = ","
    decimal: str = "."
    quoting: int = csv.QUOTE_MINIMAL
    header: bool = True
    columns: tuple[str, ...] = ("id", "time", "x", "y", "label")
    time: Callable[[int], str] = str
    label: Callable[[str], str] = str
    number: Callable[[float], str] = lambda value: f"{value:.3f}"
    index: str | None = None
    encoding: str = "utf-8"
    line_end: str = "\n"
    suffix: str = ".csv"
    packed: bool = False
    rows: Callable[[list[Any]], list[Any]] = list
    text: Callable[[str], str] = str
    settings: dict[str, Any] = field(default_factory=dict)
    question: str = ""
    wide: bool = False
    labels: tuple[str, ...] = ("grün", "rot")


def cells_of(dialect: Dialect) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the data set as texts."""

    def number(value: float) -> str:
        return dialect.number(value).replace(".", dialect.decimal)

    if dialect.wide:
        names = [f"t{step}" for step in range(STEPS)]
        rows = [[*map(number, X[row]), dialect.label(LABELS[row])] for row in range(N)]
        names.append("label")
        if dialect.columns[0] == "label":
            names, rows = [names[-1], *names[:-1]], [[row[-1], *row[:-1]] for row in rows]
        return names, rows
    rows = []
    for sequence in range(N):
        for step in range(STEPS):
            x, y = number(X[sequence, step]), number(Y[sequence, step])
            row = {"id": f"s{sequence}", "time": dialect.time(step), "x": x, "y": y}
            row["label"] = dialect.label(LABELS[sequence])
            rows.append([row[name] for name in dialect.columns])
    return list(dialect.columns), rows


def write(dialect: Dialect, folder: Path) -> Path:
    names, rows = cells_of(dialect)
    rows = dialect.rows(rows)
    if dialect.index is not None:
        names, rows = [dialect.index, *names], [[str(at), *row] for at, row in enumerate(rows)]
    stream = io.StringIO()
    if dialect.separator == "  ":
        stream.writelines("  " + "  ".join(row) + " \n" for row in [names, *rows])
    else:
        writer = csv.writer(stream, delimiter=dialect.separator, quoting=dialect.quoting, lineterminator="\n")
        writer.writerows([names, *rows] if dialect.header else rows)
    content = dialect.text(stream.getvalue()).replace("\n", dialect.line_end).encode(dialect.encoding)
    path = folder / f"table{dialect.suffix}"
    path.write_bytes(gzip.compress(content) if dialect.packed else content)
    return path


def answer_of(path: Path, settings: dict[str, Any]) -> Answer:
    (source,) = read_sources(path, DEFAULT_DATA.model_copy(update=settings)).values()
    return sorted(
        (str(source.classes[source.targets[index]]), source.steps_of(index).tolist())
        for index in range(len(source))
    )


def wanted(dialect: Dialect) -> Answer:
    steps = X[:, :, None] if dialect.wide else np.stack([X, Y], axis=2)
    labels = [dialect.labels[CLASSES.index(label)] for label in LABELS]
    return sorted(zip(labels, steps.astype(np.float32).tolist(), strict=True))


def times(text: str) -> Callable[[int], str]:
    return lambda step: (START + timedelta(seconds=step)).strftime(text)


def shuffled(rows: list[Any]) -> list[Any]:
    return [rows[at] for at in np.random.default_rng(0).permutation(len(rows))]


def interleaved(rows: list[Any]) -> list[Any]:
    return [rows[sequence * STEPS + step] for step in range(STEPS) for sequence in range(N)]


GERMAN = {"time_format": "%d.%m.%Y %H:%M:%S"}
DIALECTS = [
    Dialect("plain"),
    Dialect("semicolons", ";"),
    Dialect("tabs in .tsv", "\t", suffix=".tsv"),
    Dialect("tabs in .csv", "\t"),
    Dialect("bars", "|"),
    Dialect("blanks in .txt", "  ", suffix=".txt"),
    Dialect("commas in .txt", suffix=".txt"),
    Dialect("semicolons and decimal commas", ";", ","),
    Dialect("tabs and decimal commas in .tsv", "\t", ",", suffix=".tsv"),
    Dialect("tabs and decimal commas in .csv", "\t", ","),
    Dialect("bars and decimal commas", "|", ","),
    Dialect("blanks and decimal commas", "  ", ",", suffix=".txt"),
    Dialect("quoted decimal commas between commas", decimal=","),
    Dialect("decimal commas with the option", ";", ",", settings={"decimal": ","}),
    Dialect(
        "decimal points with the option of commas", ";", settings={"decimal": ","}, question="--decimal ."
    ),
    Dialect(
        "decimal commas with the option of points",
        ";",
        ",",
        settings={"decimal": "."},
        question="--decimal ,",
    ),
    Dialect(
        "numbers that may be thousands",
        ";",
        ",",
        number=lambda value: f"{abs(value) + 1:.3f}",
        question="--decimal",
    ),
    Dialect("everything quoted", quoting=csv.QUOTE_ALL),
    Dialect("everything quoted between semicolons", ";", ",", csv.QUOTE_ALL),
    Dialect("byte-order mark", encoding="utf-8-sig"),
    Dialect("UTF-16 of Excel", "\t", ",", encoding="utf-16", line_end="\r\n", suffix=".txt"),
    Dialect("UTF-16 without a mark", encoding="utf-16-le", settings={"encoding": "utf-16-le"}),
    Dialect("UTF-16 without a mark or option", encoding="utf-16-le", question="--encoding"),
    Dialect("Windows", ";", ",", encoding="cp1252", line_end="\r\n", settings={"encoding": "cp1252"}),
    Dialect("Windows without the option", ";", ",", encoding="cp1252", question="--encoding"),
    Dialect("Latin-1", encoding="latin-1", settings={"encoding": "latin-1"}),
    Dialect("Mac OS Roman", encoding="mac_roman", settings={"encoding": "mac_roman"}),
    Dialect("UTF-8 with the option", encoding="utf-8-sig", settings={"encoding": "cp1252"}),
    Dialect("carriage returns and line feeds", line_end="\r\n"),
    Dialect("carriage returns", line_end="\r"),
    Dialect("no last line end", text=str.rstrip),
    Dialect("empty lines", text=lambda text: "\n" + text.replace("\n", "\n\n")),
    Dialect("other order of columns", columns=("label", "x", "id", "y", "time")),
    Dialect("index without a name", index=""),
    Dialect("index of pandas", index="Unnamed: 0"),
    Dialect("rows in any order", rows=shuffled),
    Dialect("interleaved sequences", rows=interleaved),
    Dialect("ISO dates", time=times("%Y-%m-%d %H:%M:%S")),
    Dialect("ISO dates with T and zone", time=times("%Y-%m-%dT%H:%M:%SZ"), rows=shuffled),
    Dialect("times of day over midnight", time=times("%H:%M:%S")),
    Dialect("interleaved times of day over midnight", time=times("%H:%M:%S"), rows=interleaved),
    Dialect(
        "shuffled times of day over midnight", time=times("%H:%M:%S"), rows=shuffled, question="next day"
    ),
    Dialect("German dates", ";", ",", time=times("%d.%m.%Y %H:%M:%S"), rows=shuffled, settings=GERMAN),
    Dialect("German dates without the option", time=times("%d.%m.%Y %H:%M:%S"), question="--time-format"),
    Dialect(
        "American dates",
        time=times("%m/%d/%Y %I:%M:%S %p"),
        rows=shuffled,
        settings={"time_format": "%m/%d/%Y %I:%M:%S %p"},
    ),
    Dialect("nanoseconds", time=lambda step: str(1_759_269_598_000_000_000 + step), rows=shuffled),
    Dialect(
        "seconds with fractions", ";", ",", time=lambda step: f"{step / 4}".replace(".", ","), rows=shuffled
    ),
    Dialect("seconds, later with fractions", time=lambda step: str(step) if step < 3 else "3.5"),
    Dialect("gzip", packed=True, suffix=".csv.gz"),
    Dialect("gzip of tabs", "\t", packed=True, suffix=".tsv.gz"),
    Dialect("gzip of blanks", "  ", packed=True, suffix=".txt.gz"),
    Dialect("gzip under another name", packed=True),
    Dialect(
        "gzip of Windows", packed=True, encoding="cp1252", settings={"encoding": "cp1252"}, suffix=".csv.gz"
    ),
    Dialect("exponents", number=lambda value: f"{value:.6e}"),
    Dialect("signs", number=lambda value: f"{value:+.3f}"),
    Dialect("digits as labels", label=lambda text: str(CLASSES.index(text)), labels=("0", "1")),
    Dialect("blanks around labels", label=lambda text: f" {text} "),
    Dialect("wide", wide=True),
    Dialect("wide with decimal commas", ";", ",", wide=True),
    Dialect("wide without header", header=False, wide=True, settings={"label_column": "4"}),
    Dialect(
        "wide without header or option", header=False, wide=True, question="--label-column 4 if there is no"
    ),
    Dialect(
        "wide without header, decimal commas",
        ";",
        ",",
        header=False,
        wide=True,
        settings={"label_column": "4"},
    ),
    Dialect("wide, label first", columns=("label",), wide=True),
    Dialect(
        "UCR archive of 2018",
        "\t",
        header=False,
        wide=True,
        columns=("label",),
        label=lambda text: str(CLASSES.index(text)),
        labels=("0", "1"),
        suffix=".tsv",
    ),
]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_dialect_gives_the_same_sequences_or_a_question(tmp_path, dialect):
    path = write(dialect, tmp_path)
    if not dialect.question:
        assert answer_of(path, dialect.settings) == wanted(dialect)
        return
    with pytest.raises(ScanlineError) as caught:
        answer_of(path, dialect.settings)
    assert caught.value.exit_code in (2, 3)
    assert dialect.question in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if not d.question], ids=lambda dialect: dialect.name)
def test_a_dialect_is_read_alike_with_the_settings_that_a_model_keeps(tmp_path, dialect):
    path = write(dialect, tmp_path)
    (source,) = read_sources(path, DEFAULT_DATA.model_copy(update=dialect.settings)).values()
    assert answer_of(path, source.info.settings.model_dump()) == wanted(dialect)


# --- other formats


def write_parquet(folder: Path, convert: Callable[[str, list[str]], Any]) -> Path:
    names, rows = cells_of(Dialect("parquet"))
    columns = {name: convert(name, [row[at] for row in rows]) for at, name in enumerate(names)}
    parquet.write_table(pa.table(columns), folder / "table.parquet")
    return folder / "table.parquet"


def plain(name: str, column: list[str]) -> Any:
    return (
        pa.array(column).cast({"time": pa.int64()}.get(name, pa.float64())) if name in "time x y" else column
    )


def write_lists(folder: Path) -> Path:
    table = pa.table({"x": X.tolist(), "y": Y.tolist(), "label": LABELS})
    parquet.write_table(table, folder / "table.parquet")
    return folder / "table.parquet"


def write_npz(folder: Path) -> Path:
    np.savez(folder / "arrays.npz", X=np.stack([X, Y], axis=2), y=LABELS)
    return folder / "arrays.npz"


def write_ts(folder: Path, pair: str = "{1}", suffix: str = ".ts") -> Path:
    lines = [f"@timeStamps {str(pair != '{1}').lower()}", "@classLabel true grün rot", "@data"]
    for row in range(N):
        parts = [",".join(pair.format(at, value) for at, value in enumerate(each[row])) for each in (X, Y)]
        lines.append(":".join([*parts, LABELS[row]]))
    content = "\n".join(lines).encode()
    (folder / f"a{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    return folder / f"a{suffix}"


def write_arff(folder: Path) -> Path:
    steps = "".join(f"  @attribute t{step} numeric\n" for step in range(STEPS))
    head = f"@relation a\n@attribute r relational\n{steps}@end r\n@attribute class {{grün,rot}}\n@data\n"
    rows = [
        "'{}',{}\n".format(r"\n".join(",".join(map(str, each[row])) for each in (X, Y)), LABELS[row])
        for row in range(N)
    ]
    (folder / "a.arff").write_text(head + "".join(rows), encoding="utf-8")
    return folder / "a.arff"


FORMATS: dict[str, Callable[[Path], Path]] = {
    "Parquet": lambda folder: write_parquet(folder, plain),
    "Parquet of text": lambda folder: write_parquet(folder, lambda _, column: column),
    "Parquet of categories": lambda folder: write_parquet(
        folder, lambda _, c: pa.array(c).dictionary_encode()
    ),
    "Parquet of lists": write_lists,
    ".npz": write_npz,
    ".ts": write_ts,
    ".ts.gz": lambda folder: write_ts(folder, suffix=".ts.gz"),
    ".ts with time stamps": lambda folder: write_ts(folder, "({0},{1})"),
    ".arff": write_arff,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sequences(tmp_path, name):
    assert answer_of(FORMATS[name](tmp_path), {}) == wanted(Dialect(name))


@pytest.mark.parametrize("decimal", ["", ","])
def test_labels_with_decimal_commas_are_numbers_as_with_points(tmp_path, decimal):
    settings = DEFAULT_DATA.model_copy(update={"decimal": decimal})
    path = tmp_path / "a.csv"
    path.write_text("label;t0;t1\n1,0;0,5;1,5\n2,0;0,5;2,5\n")
    assert list(map(repr, read_sources(path, settings)["all"].classes)) == ["1.0", "2.0"]
    path.write_text("label;t0;t1\n1,5;0,5;1,5\n2,0;0,5;2,5\n")
    with pytest.raises(ScanlineError, match=r"expected a label, an integer or text, found 1\.5"):
        read_sources(path, settings)
    path.write_text("label;t0;t1\n1,5 mm;0,5;1,5\n2,0;0,5;2,5\n")
    assert read_sources(path, settings)["all"].classes == ("1,5 mm", "2,0")
