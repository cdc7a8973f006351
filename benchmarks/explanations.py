"""Check explanations on a whole test split, and draw the figures of the documentation.

    python benchmarks/explanations.py RUN [PICTURES]

Removes the values with the largest attribution from every test sequence, and as many random values, and
prints the mean drop of the predicted probability. Explains 200 sequences and prints the largest difference
between the sum of the attributions and the difference of logits, and between the probabilities of the last
step and those of predict_proba. With PICTURES, writes the figures of the documentation into that folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from scanline import plots
from scanline.evaluation.early import accuracy_by_step
from scanline.evaluation.evaluate import evaluate_run
from scanline.explanation.attribution import baseline
from scanline.explanation.deletion import check_by_deletion
from scanline.explanation.explain import explain_sequence
from scanline.explanation.save import save
from scanline.metrics.probabilities import softmax
from scanline.reporting import figures

EXPLAINED = 200


def main(run: str, pictures: str | None = None) -> None:
    evaluation = evaluate_run(run, None)
    model, part = evaluation.model, evaluation.source
    network = model.network
    along = accuracy_by_step(network, model.task, part)
    last = along.steps[-1]
    print(f"{along.enough} of {last.step} steps suffice; final accuracy {last.accuracy:.4f}")
    for stop in along.stops:
        print(f"stop at {stop.threshold}: accuracy {stop.accuracy:.4f}, {stop.mean_steps:.2f} steps")
    if pictures:
        folder = Path(pictures)
        folder.mkdir(parents=True, exist_ok=True)
        figure = figures.accuracy_by_step(along, "rows" if evaluation.has_pictures else "steps")
        (folder / "accuracy-against-rows.png").write_bytes(plots.to_png(figure))
        save(
            explain_sequence(model, part, evaluation.metrics.to_json()["mistakes"][0]["index"]),
            folder / "explanation.png",
        )
    probabilities = softmax(evaluation.outputs)
    chosen = np.linspace(0, len(part) - 1, min(EXPLAINED, len(part))).round().astype(int)
    found = [explain_sequence(model, part, int(index)) for index in chosen]
    sums = max(each.attribution.error for each in found)
    ends = max(
        float(np.abs(each.trace.probabilities[-1] - probabilities[index]).max())
        for each, index in zip(found, chosen, strict=True)
    )
    print(
        f"{len(found)} explained: largest error of the sum of attributions {sums:.1e}, "
        f"of the last step {ends:.1e}"
    )
    check = check_by_deletion(
        network, evaluation.model.task, part, baseline(network, evaluation.has_pictures)
    )
    print(
        f"removing the {100 * check.share:.0f} % of values with the largest attribution lowers the predicted "
        f"probability ({check.before:.4f} on average) by {check.by_attribution:.4f}; the same number of "
        f"random values lowers it by {check.at_random:.4f}, of random values that are not blank by "
        f"{check.at_random_present:.4f} ({check.n:,} sequences)"
    )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python benchmarks/explanations.py RUN [PICTURES]")
    main(*sys.argv[1:])
