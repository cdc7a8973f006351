"""The tables of a report: the numbers behind the charts, the comparison, digests and environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scanline.reporting.charts import unit
from scanline.reporting.figures import span
from scanline.reporting.text import count, duration, estimate, percent

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


def tables(facts: dict[str, Any]) -> dict[str, Table]:
    """Return the tables, by the name of the chart or section that they belong to."""
    made = {"digests": _digests(facts)}
    if facts.get("course"):
        made["learning"] = _history(facts["course"])
    if "figures" in facts:
        test = facts["figures"]
        made |= {
            "classes": _classes(test["classes"]),
            "reliability": _reliability(test["calibration"]["bins"]),
            "coverage": _coverage(test["coverage"]),
            "lengths": _lengths(test["by_length"]),
        }
    if "along" in facts:
        made |= {
            "along": _by_step(facts["along"]["steps"], unit(facts)),
            "stops": _stops(facts["along"]["stops"], unit(facts)),
        }
    if "activity" in facts:
        made["activity"] = _gates(facts["activity"]["gates"])
    if "comparison" in facts:
        made |= {
            "runs": _runs(facts["comparison"]),
            "disagreements": _disagreements(facts["comparison"]["pairs"][0]),
        }
    if facts.get("environment"):
        made["environment"] = _environment(facts["environment"])
    if facts.get("split"):
        made["split"] = _splits(facts["split"]["parts"])
    return made


def _history(history: list[dict[str, Any]]) -> Table:
    heads = ("step", "sequences", "split", "cross-entropy", "accuracy", "learning rate", "seconds")
    rows = [
        (
            f"{each['step']:,}",
            f"{each.get('samples', 0):,}",
            each.get("part", "training batch"),
            estimate(each["loss"]),
            estimate(each["accuracy"]),
            f"{each['learning_rate']:.3g}" if "learning_rate" in each else "",
            f"{each.get('seconds', 0):.1f}",
        )
        for each in history
    ]
    return Table("Training history", heads, rows)


def _classes(classes: list[dict[str, Any]]) -> Table:
    kinds = ("recall", "precision", "f1")
    rows = [
        (
            str(each["class"]),
            f"{each['n']:,}",
            f"{each['correct']:,}",
            *(estimate(each[kind], each[f"{kind}_ci95"], 3) for kind in kinds),
        )
        for each in classes
    ]
    heads = ("class", "n", "correct", "recall", "precision", "F1")
    return Table("Classes, with 95 % bootstrap intervals", heads, rows)


def _reliability(bins: list[dict[str, Any]]) -> Table:
    rows = [
        (
            f"{each['low']:.3f}\N{EN DASH}{each['high']:.3f}",
            f"{each['n']:,}",
            estimate(each["confidence"]),
            estimate(each["accuracy"]),
        )
        for each in bins
    ]
    return Table("Reliability", ("probability", "predictions", "mean probability", "accuracy"), rows)


def _coverage(coverage: list[dict[str, Any]]) -> Table:
    rows = [
        (
            f"{100 * each['coverage']:.0f} %",
            f"{each['n']:,}",
            estimate(each["accuracy"]),
            estimate(each["confidence"]),
        )
        for each in coverage
    ]
    return Table("Coverage", ("coverage", "sequences", "accuracy", "lowest probability"), rows)


def _lengths(groups: list[dict[str, Any]]) -> Table:
    rows = [
        (
            span(each["from"], each["to"]),
            f"{each['n']:,}",
            f"{each['correct']:,}",
            estimate(each["accuracy"], each["ci95"]),
        )
        for each in groups
    ]
    return Table("Accuracy by length", ("steps", "n", "correct", "accuracy"), rows)


def _by_step(steps: list[dict[str, Any]], unit_name: str) -> Table:
    rows = [(str(each["step"]), f"{each['n']:,}", estimate(each["accuracy"], each["ci95"])) for each in steps]
    heads = (unit_name, "sequences of that length or longer", "accuracy")
    return Table(f"Accuracy against {unit_name} read", heads, rows)


def _stops(stops: list[dict[str, Any]], unit_name: str) -> Table:
    rows = [
        (
            str(each["threshold"]),
            estimate(each["accuracy"]),
            f"{each['mean_steps']:.1f}",
            percent(each["stopped"]),
        )
        for each in stops
    ]
    heads = ("threshold", "accuracy", f"mean {unit_name}", "stopped early")
    return Table("Early classification: stop once a class has this probability", heads, rows)


def _gates(gates: list[dict[str, Any]]) -> Table:
    rows = [(each["name"], *(percent(each[kind]) for kind in ("shut", "between", "open"))) for each in gates]
    return Table("Gate values, fraction of all units and steps", ("gate", "closed", "between", "open"), rows)


def _runs(comparison: dict[str, Any]) -> Table:
    runs = comparison["runs"]

    def row(head: str, cells: Iterable[str]) -> tuple[str, ...]:
        return (head, *cells)

    return Table(
        f"{comparison['n']:,} sequences of {comparison['data']}",
        row("run", (each["run"] for each in runs)),
        [
            row("network", (each["network"] for each in runs)),
            row("view", (each["view"] or "steps" for each in runs)),
            row("correct", (f"{each['correct']:,}" for each in runs)),
            row("accuracy", (estimate(each["accuracy"], each["ci95"]) for each in runs)),
            row("mean cross-entropy", (estimate(each["loss"]) for each in runs)),
            row("calibration error", (estimate(each["calibration_error"]) for each in runs)),
            row("parameters", (f"{each['parameters']:,}" for each in runs)),
            row("predictions per second", (count(each["sequences_per_s"]) for each in runs)),
            row("training time", (duration(each["training_seconds"]) for each in runs)),
            row("training sequences", (count(each["training_samples"]) for each in runs)),
        ],
    )


def _disagreements(pair: dict[str, Any]) -> Table:
    rows = [
        (str(each["sequence"]), each["true"], each["first"], each["second"])
        for each in pair["disagree_on"][:MAX_DISAGREEMENTS]
    ]
    return Table("Different predictions", ("sequence", "true class", pair["first"], pair["second"]), rows)


def _digests(facts: dict[str, Any]) -> Table:
    environment = facts.get("environment") or {}
    rows = [
        (f"{name} split, {each['n']:,} sequences", each["sha256"])
        for name, each in environment.get("data", {}).items()
    ]
    evaluated = facts.get("judged")
    if evaluated and evaluated["sha256"] not in (digest for _, digest in rows):
        rows.append((f"evaluated split, {evaluated['n']:,} sequences", evaluated["sha256"]))
    if "code" in environment:
        rows.append(("Scanline's source code", environment["code"]))
    if facts.get("model_sha256"):
        rows.append(("model.json, which holds the digest of every weight", facts["model_sha256"]))
    return Table("Digests", ("content", "SHA-256"), rows, words=True)


def _environment(environment: dict[str, Any]) -> Table:
    plain = ("python", "platform", "processor", "cores", "threads", "device")
    rows = [(name, str(environment[name])) for name in plain if name in environment]
    computes = environment.get("computes")
    if computes:
        rows.append(("backend", f"{computes['backend']}, {computes['precision']}"))
    rows += [(name, str(version)) for name, version in environment.get("packages", {}).items()]
    return Table("Environment", ("component", "version or value"), rows, words=True)


def _splits(splits: dict[str, Any]) -> Table:
    rows = [(name, f"{each['n']:,}", str(each.get("from", ""))) for name, each in splits.items()]
    return Table("Splits", ("split", "sequences", "taken from"), rows, words=True)
