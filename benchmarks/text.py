"""Measure the recipe `text`, and words as categories, beside methods of scikit-learn with the same splits.

    SCANLINE_DATA=DATA python benchmarks/text.py                     # all; writes benchmarks/TEXT.md
    SCANLINE_DATA=DATA python benchmarks/text.py --only sms --seeds 0,1
    python benchmarks/text.py --only trec --validation --set model.hidden_size=64
    python benchmarks/text.py --page                                 # writes the page of finished runs

DATA/text and DATA/labelling/ud_english_atis hold the data. `sms`, `movies` and `names` are divided at
random, stratified by class, with the seed of the run: a fifth is the test. `trec` and `atis` have test files.
The test parts are read once. With --validation, a fifth of the training data takes the place of the test and
the test is not read: settings of the recipe were chosen so.

Beside it, in the same run: TF-IDF of words and pairs of words with a logistic regression; for names of
characters; for names also the network of PyTorch's tutorial; for tags of words a logistic regression on the
word, its neighbours and its endings.

Finished runs are kept in runs/text and reused: delete that folder to measure again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import scanline
from scanline import recipe

DATA = Path(os.environ.get("SCANLINE_DATA", "../shared"))
FOLDER = Path("runs/text")
Split = tuple[list[Any], list[Any]]  # texts, or sequences of words, and their labels
Scores = dict[str, float]


@dataclass(frozen=True)
class Problem:
    """Texts with labels, and what is asked.

    Attributes:
        title: What it is, in words.
        read: Returns training and test data.
        asked: What is asked, in words.
        others: What is measured beside the network, by name.
        positive: Class whose F1 is shown; "": none.
        settings: Changes of the recipe.
    """

    title: str
    read: Callable[[int], tuple[Split, Split]]
    asked: str
    others: dict[str, Callable[[Split, Split, int], list[Any]]]
    positive: str = ""
    settings: dict[str, Any] | None = None


def divided(texts: Sequence[Any], labels: Sequence[Any], seed: int) -> tuple[Split, Split]:
    """Return four fifths and a fifth, stratified by class."""
    kept, held, own, others = train_test_split(
        list(texts), list(labels), test_size=0.2, random_state=seed, stratify=list(labels)
    )
    return (kept, own), (held, others)


def sms(seed: int) -> tuple[Split, Split]:
    """SMS Spam Collection (Almeida et al. 2011)."""
    lines = (DATA / "text/sms_spam/SMSSpamCollection").read_text().splitlines()
    rows = [line.split("\t", 1) for line in lines if line]
    return divided([text for _, text in rows], [label for label, _ in rows], seed)


def movies(seed: int) -> tuple[Split, Split]:
    """Sentences of reviews (Pang & Lee 2005)."""
    texts, labels = [], []
    for label, ending in (("positive", "pos"), ("negative", "neg")):
        path = DATA / f"text/movie_polarity_sentences/rt-polarity.{ending}"
        own = [line.strip() for line in path.read_text(encoding="latin-1").split("\n") if line.strip()]
        texts += own
        labels += [label] * len(own)
    return divided(texts, labels, seed)


def trec(seed: int) -> tuple[Split, Split]:
    """Questions with six kinds of answers (Li & Roth 2002), with the test of the source."""

    def read(name: str) -> Split:
        lines = (DATA / f"text/trec6/{name}").read_text(encoding="latin-1").split("\n")
        rows = [line.split(" ", 1) for line in lines if line.strip()]
        return [text for _, text in rows], [label.partition(":")[0] for label, _ in rows]

    return read("TREC.train"), read("TREC.test")


def names(seed: int) -> tuple[Split, Split]:
    """Names in 18 languages, of PyTorch's tutorial."""
    texts, labels = [], []
    for path in sorted((DATA / "text/names18").glob("*.txt")):
        own = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        texts += own
        labels += [path.stem] * len(own)
    return divided(texts, labels, seed)


def atis(seed: int) -> tuple[Split, Split]:
    """Tags of the words of flight requests (Universal Dependencies), with the files of the source."""

    def read(name: str) -> Split:
        words: list[list[str]] = [[]]
        tags: list[list[str]] = [[]]
        with gzip.open(DATA / f"labelling/ud_english_atis/en_atis-ud-{name}.conllu.gz", "rt") as file:
            for line in file:
                cells = line.rstrip("\n").split("\t")
                if len(cells) > 3 and cells[0].isdecimal():
                    words[-1].append(cells[1].lower())
                    tags[-1].append(cells[3])
                elif not line.strip() and words[-1]:
                    words.append([])
                    tags.append([])
        return [each for each in words if each], [each for each in tags if each]

    train, dev = read("train"), read("dev")
    return (train[0] + dev[0], train[1] + dev[1]), read("test")


# --- what is beside the network


def tf_idf(train: Split, test: Split, seed: int) -> list[Any]:
    """TF-IDF of words and pairs of words, and a logistic regression."""
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    model = make_pipeline(features, LogisticRegression(C=10, max_iter=2000, random_state=seed))
    predictions: list[Any] = model.fit(*train).predict(test[0]).tolist()
    return predictions


def tf_idf_of_characters(train: Split, test: Split, seed: int) -> list[Any]:
    """TF-IDF of one to four characters, and a logistic regression."""
    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    model = make_pipeline(features, LogisticRegression(C=10, max_iter=2000, random_state=seed))
    predictions: list[Any] = model.fit(*train).predict(test[0]).tolist()
    return predictions


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;'_"


def tutorial(train: Split, test: Split, seed: int) -> list[Any]:
    """Train the network of "NLP From Scratch: Classifying Names with a Character-Level RNN", as it does.

    torch.nn.RNN with 128 units over one-hot letters, its last state, 27 epochs of SGD at 0.15 in batches of
    64 names, and gradients clipped to 3. Losses of a batch are averaged here: the tutorial divides by 64 too.
    """
    import torch
    from torch import nn

    def encoded(name: str) -> torch.Tensor:
        plain = unicodedata.normalize("NFD", name)
        codes = [_LETTERS.find(each) for each in plain if unicodedata.category(each) != "Mn"]
        return torch.eye(len(_LETTERS))[[code if code >= 0 else len(_LETTERS) - 1 for code in codes]]

    torch.manual_seed(seed)
    classes = sorted(set(train[1]))
    cell, head = nn.RNN(len(_LETTERS), 128), nn.Linear(128, len(classes))
    weights = [*cell.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.15)
    texts, targets = [encoded(each) for each in train[0]], [classes.index(each) for each in train[1]]

    def outputs(batch: list[torch.Tensor]) -> torch.Tensor:
        _, last = cell(nn.utils.rnn.pack_sequence(batch, enforce_sorted=False))
        scores: torch.Tensor = head(last[0])
        return scores

    for _ in range(27):
        for batch in torch.randperm(len(texts)).split(64):
            loss = nn.functional.cross_entropy(
                outputs([texts[i] for i in batch]), torch.tensor([targets[i] for i in batch])
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 3)
            optimizer.step()
    with torch.inference_mode():
        return [classes[code] for code in outputs([encoded(each) for each in test[0]]).argmax(1).tolist()]


def regression_of_neighbours(train: Split, test: Split, seed: int) -> list[Any]:
    """A logistic regression on each word, two words on each side, and endings."""

    def features(words: list[str]) -> list[dict[str, str]]:
        padded = ["<", "<", *words, ">", ">"]
        return [
            {f"{place}": padded[at + place] for place in range(5)} | {"end": word[-3:], "last": word[-1:]}
            for at, word in enumerate(words)
        ]

    rows = [row for words in train[0] for row in features(words)]
    tags = [tag for own in train[1] for tag in own]
    model = make_pipeline(DictVectorizer(), LogisticRegression(C=10, max_iter=2000, random_state=seed))
    model.fit(rows, tags)
    return [tag for words in test[0] for tag in model.predict(features(words)).tolist()]


# --- the network


def network(problem: str, train: Split, test: Split, seed: int, settings: dict[str, Any]) -> list[Any]:
    """Train the network and return its predictions for the texts of a split."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        given = {"split.test": 0.0} | settings
        if problem == "atis":
            _write_words(path / "train.csv", train)
            run = scanline.train(
                path / "train.csv",
                task="step-classification",
                label_column="tag",
                id_column="sentence",
                settings=given,
                seed=seed,
                run=path / "run",
                device="cpu",
                log=None,
            )
            _write_words(path / "test.csv", test)
            found = scanline.load(run.path)
            from scanline.data.reading import TO_PREDICT, read_sources

            (source,) = read_sources(path / "test.csv", found.preprocessing.settings, TO_PREDICT).values()
            predictions: list[Any] = found.task.predict(found.outputs(found.steps(source))).tolist()
            return predictions
        _write_texts(path / "train.jsonl", train)
        run = scanline.train(
            path / "train.jsonl", settings=given, seed=seed, run=path / "run", device="cpu", log=None
        )
        labels: list[Any] = run.model.predict(test[0]).tolist()
        return labels


def _write_texts(path: Path, split: Split) -> None:
    lines = (json.dumps({"text": text, "label": label}) for text, label in zip(*split, strict=True))
    path.write_text("".join(line + "\n" for line in lines))


def _write_words(path: Path, split: Split) -> None:
    rows = ["sentence,word,tag"]
    for number, (words, tags) in enumerate(zip(*split, strict=True)):
        rows += [f'{number},"{word}",{tag}' for word, tag in zip(words, tags, strict=True)]
    path.write_text("\n".join(rows) + "\n")


PROBLEMS = {
    "sms": Problem(
        "SMS Spam Collection, 5,574 messages",
        sms,
        "accuracy 0.985, F1 of spam 0.94",
        {"TF-IDF of words": tf_idf},
        "spam",
    ),
    "trec": Problem(
        "TREC questions, 6 kinds, 5,452 and 500", trec, "TF-IDF + 1 point", {"TF-IDF of words": tf_idf}
    ),
    "movies": Problem(
        "sentences of movie reviews, 10,662", movies, "TF-IDF + 1 point", {"TF-IDF of words": tf_idf}
    ),
    "names": Problem(
        "names in 18 languages, 20,074",
        names,
        "the tutorial's network",
        {"tutorial's network": tutorial, "TF-IDF of characters": tf_idf_of_characters},
    ),
    "atis": Problem(
        "UD ATIS, tags of words",
        atis,
        "0.95 of the tags",
        {"logistic regression of neighbours": regression_of_neighbours},
        settings={
            "data.categorical_columns": ["word"],
            "train.epochs": 15,
            "train.unknown": 0.05,
            "model.embedding_size": 64,
        },
    ),
}


def scores(problem: Problem, test: Split, predictions: list[Any], seconds: float) -> Scores:
    """Return the metrics of predictions."""
    true = test[1] if isinstance(test[1][0], str) else [tag for own in test[1] for tag in own]
    found = {"accuracy": float(accuracy_score(true, predictions)), "seconds": seconds, "n": len(true)}
    if problem.positive:
        found["f1"] = float(f1_score(true, predictions, pos_label=problem.positive))
    return found


def measure(
    name: str, seed: int, validation: bool, changes: dict[str, Any], others: bool
) -> dict[str, Scores]:
    """Train all methods with one seed and return their scores by name of the method."""
    problem = PROBLEMS[name]
    train, test = problem.read(seed)
    if validation:
        texts, labels = train
        order = np.random.default_rng(seed).permutation(len(texts))
        held, kept = order[: len(order) // 5], order[len(order) // 5 :]
        train, test = (([texts[i] for i in chosen], [labels[i] for i in chosen]) for chosen in (kept, held))
    made: dict[str, Scores] = {}
    began = time.perf_counter()
    predictions = network(name, train, test, seed, (problem.settings or {}) | changes)
    made["Scanline"] = scores(problem, test, predictions, time.perf_counter() - began)
    for method, predict in problem.others.items() if others else ():
        began = time.perf_counter()
        predictions = predict(train, test, seed)
        made[method] = scores(problem, test, predictions, time.perf_counter() - began)
    return made


def page() -> str:
    """Return the figures of all finished runs as Markdown."""
    lines = [
        "# Text",
        "",
        "Made by `benchmarks/text.py`: the recipe `text` on texts, and the recipe `steps` on words with",
        "tags, without vectors or models that were trained on other texts. The methods beside it are",
        "fitted to the same texts in the same run. Settings were chosen on parts of the training data;",
        "the tests were read once. Seeds draw the split, where the data have none, and the weights.",
        "",
        "| data | method | test | mean | by seed |",
        "|---|---|---|---|---|",
    ]
    for name, problem in PROBLEMS.items():
        runs = [(seed, _path(name, seed)) for seed in range(100) if _path(name, seed).exists()]
        found = {seed: json.loads(path.read_text()) for seed, path in runs}
        if not found:
            lines.append(f"| {problem.title} | not measured | | | |")
        for method in ["Scanline", *problem.others] if found else ():
            own = {seed: each[method] for seed, each in found.items()}
            for metric in ("accuracy", "f1") if problem.positive else ("accuracy",):
                shown = ", ".join(f"{seed}: {each[metric]:.4f}" for seed, each in own.items())
                title = f"F1 of {problem.positive}" if metric == "f1" else metric
                mean = statistics.mean(each[metric] for each in own.values())
                lines.append(
                    f"| {problem.title} | {method}, {title} | {int(own[next(iter(own))]['n']):,} | "
                    f"{mean:.4f} | {shown} |"
                )
        if found:
            lines.append(f"| | asked: {problem.asked} | | | |")
    return "\n".join(lines) + "\n"


def _path(name: str, seed: int) -> Path:
    return FOLDER / f"{name}-{seed}.json"


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PROBLEMS)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--validation", action="store_true", help="hold out training data; read no test")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--alone", action="store_true", help="with --validation: only the network")
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    changes = dict(map(recipe.parse_setting, given.changes))
    if changes and not given.validation:
        parser.error("--set needs --validation: nothing is chosen on the test")
    for seed in map(int, given.seeds.split(",")) if not given.page else ():
        for name in PROBLEMS if given.only is None else (given.only,):
            path = _path(name, seed)
            if given.validation:
                print(
                    name,
                    seed,
                    changes,
                    json.dumps(measure(name, seed, True, changes, not given.alone)),
                    flush=True,
                )
            elif not path.exists():
                found = measure(name, seed, False, {}, True)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(found))
                print(name, seed, json.dumps(found), flush=True)
    if not given.validation:
        (Path(__file__).parent / "TEXT.md").write_text(page())


if __name__ == "__main__":
    main()
