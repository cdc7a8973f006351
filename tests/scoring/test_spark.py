"""The scorer in Spark's `mapInArrow`: the rows that scoring on this machine writes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import scanline.scoring
from scanline.data.packed.location import Location
from scanline.scoring.sorting import write_sorted
from tests.scoring.packed import pack

pytestmark = pytest.mark.campaign
JAVA = Path("/usr/lib/jvm/java-17-openjdk-amd64")  # of Debian


@pytest.fixture
def spark():
    """Spark with two threads on this machine."""
    pytest.importorskip("pyspark", reason="Spark is not installed: pip install '.[spark]'")
    if JAVA.is_dir():
        home = {"JAVA_HOME": str(JAVA)}
    elif shutil.which("java"):
        home = {}
    else:
        pytest.skip("Java is not installed, which Spark needs")
    from pyspark.sql import SparkSession

    python = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (home | python).items():
            patch.setenv(name, value)
        settings = {
            "spark.ui.enabled": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "7",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.mark.filterwarnings("ignore")
def test_spark_computes_the_rows_of_this_machine(spark, run, sequences, tmp_path):
    source = pack(tmp_path / "packed", {"all": sequences}, rows=50)
    scanline.scoring.score(run, str(source), str(tmp_path / "scores"), stop_at=0.7, order="id")
    scoring = scanline.scoring.for_spark(run, stop_at=0.7)
    rows = spark.read.option("pathGlobFilter", "all-0*.parquet").parquet(str(source))
    scores = rows.mapInArrow(scoring.function, scoring.schema).toArrow()
    schema = scanline.scoring.Scorer.open(run, stop_at=0.7).schema
    write_sorted([scores.cast(schema)], schema, Location.parse(tmp_path / "spark"), "parquet")
    one, two = (tmp_path / name / "sorted.parquet" for name in ("scores", "spark"))
    assert one.read_bytes() == two.read_bytes()
