"""The charts of a report, and the tables behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scanline import plots
from scanline.reporting.gather import Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 40
MOST_DISAGREEMENTS = 200
NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """A table of text: its caption, the heads of its columns, and its rows, each with a head of its own."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: bool = False  # rather than numbers


def unit(facts: dict[str, Any]) -> str:
    """What steps are called: rows where pictures are read by rows."""
    view = facts.get("view") or ""
    return view if view in ("rows", "columns", "pixels") else "steps"


def charts(facts: dict[str, Any]) -> dict[str, str]:
    """Each chart as SVG, by its name; one that there is nothing for is absent."""
    test, along, course = facts.get("figures"), facts.get("along"), facts.get("course")
    wanted: dict[str, tuple[Callable[[], Figure], str]] = {}
    if course:
        title = f"Loss and accuracy over {course[-1]['step']:,} training steps"
        wanted["learning"] = (lambda: plots.learning_curve(course), title)
    if test:
        if len(test["classes"]) <= MOST_CLASSES:
            title = "Recall and precision of each class with their intervals"
            wanted["classes"] = (lambda: plots.class_figures(test["classes"]), title)
        title = f"Share right against the probability given; error {test['calibration']['error']:.4f}"
        wanted["reliability"] = (lambda: plots.reliability_diagram(test["calibration"]), title)
        title = f"Accuracy of the share answered, the surest first, down to {test['accuracy']:.4f} of all"
        wanted["coverage"] = (lambda: plots.coverage_curve(test["coverage"]), title)
        if len(test["by_length"]) > 1:
            title = "Accuracy by the length of the sequences"
            wanted["lengths"] = (lambda: plots.accuracy_by_length(test["by_length"]), title)
    if along and len(along["steps"]) > 1:
        title = f"Accuracy against {unit(facts)} read; {along['enough']} are enough"
        wanted["along"] = (lambda: plots.accuracy_along(along, unit(facts)), title)
    if "activity" in facts:
        title = "How often each gate is shut or open, and how large each unit's state is"
        wanted["activity"] = (lambda: plots.gate_activity(facts["activity"]), title)
    return {name: plots.to_svg(draw(), title) for name, (draw, title) in wanted.items()}


def strips(story: Story) -> list[dict[str, Any]]:
    """Of each mistake its numbers and its picture, as "svg"."""
    told = []
    pairs = zip(story.facts.get("mistakes", []), story.mistakes, strict=True)
    for number, (facts, each) in enumerate(pairs, 1):
        true = [str(name) for name in each.trace.classes].index(facts["true"])
        drawn = plots.mistake(each.trace, each.picture, each.values, each.attribution, each.places, true)
        title = f"Mistake {number}: {facts['true']} taken for {facts['answer']}, {facts['sequence']}"
        told.append(facts | {"steps": len(each.values), "svg": plots.to_svg(drawn, title)})
    return told


def tables(facts: dict[str, Any]) -> dict[str, Table]:
    """The tables, by the name of the chart or section that they belong to."""
    found = {"digests": _digests(facts)}
    if facts.get("course"):
        found["learning"] = _learning(facts["course"])
    if "figures" in facts:
        found |= _of_figures(facts["figures"])
    if "along" in facts:
        found |= _of_reading(facts["along"], unit(facts))
    if "activity" in facts:
        found["activity"] = Table(
            "Gates: share of all units and steps",
            ("gate", "shut", "between", "open"),
            [
                (each["name"], *(_percent(each[kind]) for kind in ("shut", "between", "open")))
                for each in facts["activity"]["gates"]
            ],
        )
    if "comparison" in facts:
        found |= _of_comparison(facts["comparison"])
    if facts.get("environment"):
        found["environment"] = _environment(facts["environment"])
    if facts.get("split"):
        parts = facts["split"]["parts"].items()
        found["split"] = Table(
            "Parts",
            ("part", "sequences", "from"),
            [(name, f"{each['n']:,}", str(each.get("from", ""))) for name, each in parts],
            words=True,
        )
    return found


def _learning(course: list[dict[str, Any]]) -> Table:
    heads = ("step", "sequences", "measured on", "cross-entropy", "accuracy", "learning rate", "seconds")
    rows = [
        (
            f"{each['step']:,}",
            f"{each.get('samples', 0):,}",
            each.get("part", "training batch"),
            _figure(each["loss"]),
            _figure(each["accuracy"]),
            f"{each['learning_rate']:.3g}" if "learning_rate" in each else "",
            f"{each.get('seconds', 0):.1f}",
        )
        for each in course
    ]
    return Table("Course of training", heads, rows)


def _of_figures(test: dict[str, Any]) -> dict[str, Table]:
    kinds = ("recall", "precision", "f1")
    return {
        "classes": Table(
            "Classes with 95 % intervals (bootstrap)",
            ("class", "n", "right", "recall", "precision", "F1"),
            [
                (
                    str(each["class"]),
                    f"{each['n']:,}",
                    f"{each['correct']:,}",
                    *(_figure(each[kind], each[f"{kind}_ci95"], 3) for kind in kinds),
                )
                for each in test["classes"]
            ],
        ),
        "reliability": Table(
            "Reliability",
            ("probability", "answers", "mean probability", "share right"),
            [
                (
                    f"{each['low']:.3f} to {each['high']:.3f}",
                    f"{each['n']:,}",
                    _figure(each["confidence"]),
                    _figure(each["accuracy"]),
                )
                for each in test["calibration"]["bins"]
            ],
        ),
        "coverage": Table(
            "Coverage",
            ("share answered", "sequences", "accuracy", "least probability"),
            [
                (
                    f"{100 * each['coverage']:.0f} %",
                    f"{each['n']:,}",
                    _figure(each["accuracy"]),
                    _figure(each["confidence"]),
                )
                for each in test["coverage"]
            ],
        ),
        "lengths": Table(
            "Accuracy by length",
            ("steps", "n", "right", "accuracy"),
            [
                (
                    f"{each['from']} to {each['to']}" if each["from"] < each["to"] else str(each["from"]),
                    f"{each['n']:,}",
                    f"{each['correct']:,}",
                    _figure(each["accuracy"], each["ci95"]),
                )
                for each in test["by_length"]
            ],
        ),
    }


def _of_reading(along: dict[str, Any], steps: str) -> dict[str, Table]:
    return {
        "along": Table(
            f"Accuracy against {steps} read",
            (steps, "sequences as long", "accuracy"),
            [
                (str(each["step"]), f"{each['n']:,}", _figure(each["accuracy"], each["ci95"]))
                for each in along["steps"]
            ],
        ),
        "stops": Table(
            "Stop reading as soon as a class is that probable",
            ("stop at", "accuracy", f"mean {steps}", "stopped early"),
            [
                (
                    str(each["threshold"]),
                    _figure(each["accuracy"]),
                    f"{each['mean_steps']:.1f}",
                    _percent(each["stopped"]),
                )
                for each in along["stops"]
            ],
        ),
    }


def _of_comparison(comparison: dict[str, Any]) -> dict[str, Table]:
    runs, pair = comparison["runs"], comparison["pairs"][0]

    def row(head: str, cells: Iterable[str]) -> tuple[str, ...]:
        return (head, *cells)

    return {
        "runs": Table(
            f"On {comparison['n']:,} sequences of {comparison['data']}",
            row("run", (each["run"] for each in runs)),
            [
                row("network", (each["network"] for each in runs)),
                row("reads", (each["view"] or "steps" for each in runs)),
                row("right", (f"{each['correct']:,}" for each in runs)),
                row("accuracy", (_figure(each["accuracy"], each["ci95"]) for each in runs)),
                row("mean cross-entropy", (_figure(each["loss"]) for each in runs)),
                row("calibration error", (_figure(each["calibration_error"]) for each in runs)),
                row("parameters", (f"{each['parameters']:,}" for each in runs)),
                row("predictions a second", (_count(each["sequences_per_s"]) for each in runs)),
                row("training took", (duration(each["training_seconds"]) for each in runs)),
                row("sequences seen", (_count(each["training_samples"]) for each in runs)),
            ],
        ),
        "disagreements": Table(
            "Where they disagree",
            ("sequence", "is", pair["first"], pair["second"]),
            [
                (str(each["sequence"]), each["true"], each["first"], each["second"])
                for each in pair["disagree_on"][:MOST_DISAGREEMENTS]
            ],
        ),
    }


def _digests(facts: dict[str, Any]) -> Table:
    environment = facts.get("environment") or {}
    rows = [
        (f"{name} part, {each['n']:,} sequences", each["sha256"])
        for name, each in environment.get("data", {}).items()
    ]
    judged = facts.get("judged")
    if judged and judged["sha256"] not in (digest for _, digest in rows):
        rows.append((f"judged on, {judged['n']:,} sequences", judged["sha256"]))
    if "code" in environment:
        rows.append(("Scanline's code", environment["code"]))
    if facts.get("model_sha256"):
        rows.append(("model.json, which has the digest of every weight", facts["model_sha256"]))
    return Table("Digests", ("of", "SHA-256"), rows, words=True)


def _environment(environment: dict[str, Any]) -> Table:
    plain = ("python", "platform", "processor", "cores", "threads", "device")
    rows = [(name, str(environment[name])) for name in plain if name in environment]
    computes = environment.get("computes")
    if computes:
        rows.append(("computed by", f"{computes['backend']}, {computes['precision']}"))
    rows += [(name, str(version)) for name, version in environment.get("packages", {}).items()]
    return Table("Environment", ("what", "found"), rows, words=True)


def duration(seconds: float | None) -> str:
    """As "1 h 03 min", "2 min 05 s" or "3.1 s"."""
    if seconds is None:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _figure(value: float | None, ends: list[float] | None = None, places: int = 4) -> str:
    if value is None:
        return NOTHING
    between = "" if ends is None else f" ({ends[0]:.{places}f} to {ends[1]:.{places}f})"
    return f"{value:.{places}f}{between}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"
