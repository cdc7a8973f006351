"""The tables of a report: the numbers behind the charts, the comparison, digests and environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scanline.evaluation.comparison import ComparedPair, Comparison
from scanline.evaluation.early import EarlyStop, StepAccuracy
from scanline.metrics.calibration import ReliabilityBin
from scanline.metrics.classification import ClassificationMetrics, ClassMetrics, CoveragePoint, LengthGroup
from scanline.metrics.multilabel import MultilabelMetrics
from scanline.metrics.regression import RegressionMetrics
from scanline.metrics.results import Metrics
from scanline.reporting.activity import GateSaturation
from scanline.reporting.charts import unit
from scanline.reporting.facts import MemberFacts, ReportFacts, RunFacts
from scanline.reporting.figures import loss_name, span
from scanline.reporting.text import count, duration, estimate, percent
from scanline.tasks.multilabel import metric_table as label_table
from scanline.tasks.regression import metric_table
from scanline.training.run_files import Environment, LoggedLine, MetricsLine, SplitOrigin

MAX_DISAGREEMENTS = 200


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        caption: Its title.
        heads: Heads of the columns.
        rows: Rows, each beginning with its own head.
        words: Whether the cells are words, which are aligned left, rather than numbers.
    """

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: bool = False


def tables(report: ReportFacts) -> dict[str, Table]:
    """Return the tables, by the name of the chart or section that they belong to."""
    made = {"digests": _digests(report)}
    if report.files is not None:
        made |= _of_run(report.files)
    test = report.metrics
    if isinstance(test, ClassificationMetrics):
        made |= {
            "classes": _classes(test.classes),
            "reliability": _reliability(test.calibration.bins),
            "coverage": _coverage(test.coverage),
            "lengths": _lengths(test.by_length),
        }
    elif isinstance(test, RegressionMetrics | MultilabelMetrics):
        table = metric_table(test) if isinstance(test, RegressionMetrics) else label_table(test)
        made["metrics"] = Table(table.caption, table.heads, table.rows)
    elif test is not None:
        made["metrics"] = _metrics(test)
    if report.by_step is not None:
        made |= {
            "along": _by_step(report.by_step.steps, unit(report)),
            "stops": _stops(report.by_step.stops, unit(report)),
        }
    if report.members:
        made["members"] = _members(report.members)
    if report.activity is not None:
        made["activity"] = _gates(report.activity.gates)
    if report.comparison is not None:
        made |= {
            "runs": _runs(report.comparison),
            "disagreements": _disagreements(report.comparison.pairs[0]),
        }
    return made


def _of_run(files: RunFacts) -> dict[str, Table]:
    made = {}
    if files.history:
        made["learning"] = _history(files.history)
    if files.environment is not None:
        made["environment"] = _environment(files.environment)
    if files.split is not None:
        made["split"] = _splits(files.split.parts)
    return made


def _history(history: Sequence[MetricsLine]) -> Table:
    score = history[0].score_name
    heads = ("step", "sequences", "split", loss_name(score), score, "learning rate", "seconds")
    rows = [
        (
            f"{line.step:,}",
            f"{line.samples:,}",
            "training batch" if isinstance(line, LoggedLine) else line.part,
            estimate(line.loss),
            estimate(line.value),
            f"{line.learning_rate:.3g}" if isinstance(line, LoggedLine) else "",
            f"{line.seconds:.1f}",
        )
        for line in history
    ]
    return Table("Training history", heads, rows)


def _metrics(metrics: Metrics) -> Table:
    """Return the numbers among the metrics of a task, by their names."""
    numbers = {name: value for name, value in metrics.to_json().items() if type(value) in (int, float)}
    return Table("Metrics", ("metric", "value"), [(name, f"{value:,.6g}") for name, value in numbers.items()])


def _classes(classes: Sequence[ClassMetrics]) -> Table:
    rows = [
        (
            str(each.name),
            f"{each.n:,}",
            f"{each.correct:,}",
            estimate(each.recall, each.recall_ci95, 3),
            estimate(each.precision, each.precision_ci95, 3),
            estimate(each.f1, each.f1_ci95, 3),
        )
        for each in classes
    ]
    heads = ("class", "n", "correct", "recall", "precision", "F1")
    return Table("Classes, with 95 % bootstrap intervals", heads, rows)


def _reliability(bins: Sequence[ReliabilityBin]) -> Table:
    rows = [
        (
            f"{each.low:.3f}\N{EN DASH}{each.high:.3f}",
            f"{each.n:,}",
            estimate(each.confidence),
            estimate(each.accuracy),
        )
        for each in bins
    ]
    return Table("Reliability", ("probability", "predictions", "mean probability", "accuracy"), rows)


def _coverage(coverage: Sequence[CoveragePoint]) -> Table:
    rows = [
        (
            f"{100 * each.coverage:.0f} %",
            f"{each.n:,}",
            estimate(each.accuracy),
            estimate(each.confidence),
        )
        for each in coverage
    ]
    return Table("Coverage", ("coverage", "sequences", "accuracy", "lowest probability"), rows)


def _lengths(groups: Sequence[LengthGroup]) -> Table:
    rows = [
        (
            span(each.shortest, each.longest),
            f"{each.n:,}",
            f"{each.correct:,}",
            estimate(each.accuracy, each.ci95),
        )
        for each in groups
    ]
    return Table("Accuracy by length", ("steps", "n", "correct", "accuracy"), rows)


def _by_step(steps: Sequence[StepAccuracy], unit_name: str) -> Table:
    rows = [(str(each.step), f"{each.n:,}", estimate(each.accuracy, each.ci95)) for each in steps]
    heads = (unit_name, "sequences of that length or longer", "accuracy")
    return Table(f"Accuracy against {unit_name} read", heads, rows)


def _stops(stops: Sequence[EarlyStop], unit_name: str) -> Table:
    rows = [
        (
            str(each.threshold),
            estimate(each.accuracy),
            f"{each.mean_steps:.1f}",
            percent(each.stopped),
        )
        for each in stops
    ]
    heads = ("threshold", "accuracy", f"mean {unit_name}", "stopped early")
    return Table("Early classification: stop once a class has this probability", heads, rows)


def _gates(gates: Sequence[GateSaturation]) -> Table:
    rows = [(each.name, percent(each.closed), percent(each.between), percent(each.open)) for each in gates]
    return Table("Gate values, fraction of all units and steps", ("gate", "closed", "between", "open"), rows)


def _members(members: Sequence[MemberFacts]) -> Table:
    rows = [
        (
            str(each.number),
            each.run,
            each.network,
            each.view or "steps",
            each.recipe,
            "" if each.seed is None else str(each.seed),
            "" if each.accuracy is None else estimate(each.accuracy, each.ci95),
            "" if each.loss is None else estimate(each.loss),
        )
        for each in members
    ]
    heads = ("member", "run", "network", "view", "recipe", "seed", "accuracy", "mean cross-entropy")
    return Table("Members, each evaluated alone on the same sequences", heads, rows, words=True)


def _runs(comparison: Comparison) -> Table:
    runs = comparison.runs

    # Here a column is a run, so rows are built by attribute.
    def row(head: str, cells: Iterable[str]) -> tuple[str, ...]:
        return (head, *cells)

    return Table(
        f"{comparison.n:,} sequences of {comparison.data}",
        row("run", (each.run for each in runs)),
        [
            row("network", (each.network for each in runs)),
            row("view", (each.view or "steps" for each in runs)),
            row("correct", (f"{each.correct:,}" for each in runs)),
            row("accuracy", (estimate(each.accuracy, each.ci95) for each in runs)),
            row("mean cross-entropy", (estimate(each.loss) for each in runs)),
            row("calibration error", (estimate(each.calibration_error) for each in runs)),
            row("parameters", (f"{each.parameters:,}" for each in runs)),
            row("predictions per second", (count(each.sequences_per_s) for each in runs)),
            row("training time", (duration(each.training_seconds) for each in runs)),
            row("training sequences", (count(each.training_samples) for each in runs)),
        ],
    )


def _disagreements(pair: ComparedPair) -> Table:
    rows = [
        (str(each.sequence), each.true, each.first, each.second)
        for each in pair.disagree_on[:MAX_DISAGREEMENTS]
    ]
    return Table("Different predictions", ("sequence", "true class", pair.first, pair.second), rows)


def _digests(report: ReportFacts) -> Table:
    environment = report.files.environment if report.files else None
    digests = environment.data.items() if environment else ()
    rows = [(f"{name} split, {each.n:,} sequences", each.sha256) for name, each in digests]
    evaluated = report.evaluated
    # Listed only if it differs from the splits of the run, for example after --data.
    if evaluated and evaluated.sha256 not in (digest for _, digest in rows):
        rows.append((f"evaluated split, {evaluated.n:,} sequences", evaluated.sha256))
    if environment and environment.code:
        rows.append(("Scanline's source code", environment.code))
    if report.model:
        rows.append(("model.json, which holds the digest of every weight", report.model.sha256))
    return Table("Digests", ("content", "SHA-256"), rows, words=True)


def _environment(environment: Environment) -> Table:
    rows = [
        ("python", environment.python),
        ("platform", environment.platform),
        ("processor", environment.processor),
        ("cores", str(environment.cores or "")),
        ("threads", str(environment.threads or "")),
        ("device", environment.device),
    ]
    rows = [row for row in rows if row[1]]  # an older version may not have recorded all
    if environment.computes:
        rows.append(("backend", f"{environment.computes.backend}, {environment.computes.precision}"))
    rows += [(name, str(version)) for name, version in environment.packages.items()]
    return Table("Environment", ("component", "version or value"), rows, words=True)


def _splits(splits: Mapping[str, SplitOrigin]) -> Table:
    rows = [(name, f"{each.n:,}", each.source) for name, each in splits.items()]
    return Table("Splits", ("split", "sequences", "taken from"), rows, words=True)
