"""Texts as sequences of tokens: tables, JSON lines and folders, and the faults in them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.readers.tokens import divide, encode, kind_of, words_of
from scanline.data.reading import TO_PREDICT, read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

ROWS = [("good", "what a fine film , truly"), ("bad", "dull and slow from the start")] * 4


def _read(path, optional=(), **settings):
    (source,) = read_sources(path, DEFAULT_DATA.model_copy(update=settings), optional).values()
    return source


def _tokens(source, index):
    return [source.info.categories[0][int(code)] for code in source.steps_of(index)[:, 0]]


def _check(source):
    assert source.classes == ("bad", "good")
    assert source.targets.tolist() == [1, 0] * 4
    assert _tokens(source, 0) == ["what", "a", "fine", "film", ",", "truly"]
    assert source.lengths.tolist() == [6, 6] * 4
    assert source.info.settings.tokens == "words"


@pytest.mark.parametrize("header", ["", "label\ttext\n"])
def test_labels_and_texts_between_tabs_need_no_header_and_may_have_quotes(tmp_path, header):
    path = tmp_path / "films.tsv"
    lines = "".join(f"{label}\t{text}\n" for label, text in ROWS)
    path.write_text(header + lines + 'bad\t"unpaired quote here\n')
    source = _read(path)
    assert _tokens(source, 8)[:2] == ['"', "unpaired"]
    _check(source.take(np.arange(8)))
    assert source.info.locate(8) == f"line {9 + bool(header)}"


def test_a_table_with_commas_has_its_text_column_found(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("review,sentiment\n" + "".join(f'"{text}",{label}\n' for label, text in ROWS))
    _check(_read(path))


def test_json_lines_have_a_text_and_a_label(tmp_path):
    path = tmp_path / "films.jsonl"
    path.write_text("".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in ROWS))
    _check(_read(path))


def test_a_folder_has_a_sub_folder_or_a_file_for_each_class(tmp_path):
    for number, (label, text) in enumerate(ROWS):
        (tmp_path / "folders" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folders" / label / f"{number}.txt").write_text(text)
        (tmp_path / "files").mkdir(exist_ok=True)
        with (tmp_path / "files" / f"{label}.txt").open("a") as file:
            file.write(text + "\n")
    for name in ("folders", "files"):
        source = _read(tmp_path / name)
        assert source.classes == ("bad", "good")
        assert source.targets.tolist() == [0] * 4 + [1] * 4
    assert source.info.locate(5) == "good.txt, line 2"


def test_tables_of_numbers_are_read_as_before(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("a,b,label\n" + "1,2,some words here\n3,4,other words here\n" * 5)
    source = _read(path)
    assert (source.features, source.max_length, source.info.categories) == (1, 2, ())


def test_a_column_beside_text_and_label_leaves_doubt_that_an_option_removes(tmp_path):
    path = tmp_path / "doubt.csv"
    path.write_text("note,size,label\n" + "".join(f'"{text}",1,{label}\n' for label, text in ROWS))
    with pytest.raises(UsageError, match="--text-column note"):
        _read(path)
    _check(_read(path, text_column="note"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"label\ttext\nx\t \n", "line 2: expected a text with words, found none"),
        (
            b"label\ttext\nx\tfine film\nx\tcaf\xe9 noir\n",
            "line 3, byte 28: expected text in UTF-8, found 0x",
        ),
        (b"label\ttext\nx\tfine film\tmore\n", "line 2: expected 2 cells, found 3"),
    ],
)
def test_faults_are_named_with_their_place(tmp_path, content, message):
    path = tmp_path / "faulty.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        _read(path, text_column="text", tokens="words")


def test_a_file_to_predict_may_have_texts_only(tmp_path):
    path = tmp_path / "new.tsv"
    path.write_text("what a film\nno label here\n")
    source = _read(path, TO_PREDICT, text_column="1", label_column="0", tokens="words")
    assert (len(source), source.classes) == (2, ())


def test_long_texts_are_cut_and_counted(tmp_path):
    path = tmp_path / "films.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in ROWS))
    source = _read(path, maximum_length=2)
    assert source.lengths.tolist() == [2] * 8
    assert "8 of 8 texts are longer than 2 words and were cut" in source.info.notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop-it!", ["Don", "'", "t", "stop", "-", "it", "!"]),
        ("naïve cafe\u0301s", ["naïve", "cafe\u0301s"]),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
            ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092d\u093e\u0937\u093e"],
        ),
        (" \n\t", []),
    ],
)
def test_words_are_those_of_any_script(text, words):
    assert words_of(text) == words


def _encode(texts, tokens, lower_case=True, longest=0):
    changes = {"tokens": tokens, "lower_case": lower_case, "maximum_length": longest}
    return encode(texts, DEFAULT_DATA.model_copy(update=changes))


def test_characters_and_bytes_are_tokens_too():
    found = _encode(["Aba", "\u00e9"], "characters")
    assert (found.codes.tolist(), found.lengths.tolist()) == ([0, 1, 0, 2], [3, 1])
    assert found.names == ("a", "b", "\u00e9")
    assert _encode(["a\u00e9"], "bytes", False).names == ("a", "\\xc3", "\\xa9")
    assert kind_of(["Ada", "Grace"]) == "characters"


@given(
    texts=st.lists(
        st.text(st.sampled_from("aB1_ .,'\t\n\x1f\u00a0\u0301\u0130\u03a3"), max_size=12), min_size=1
    ),
    tokens=st.sampled_from(("words", "characters", "bytes")),
    lower_case=st.booleans(),
    longest=st.integers(0, 4),
)
@settings(max_examples=100, deadline=None)
def test_texts_together_have_the_tokens_of_each_by_first_appearance(texts, tokens, lower_case, longest):
    found = _encode(texts, tokens, lower_case, longest)
    names = [found.names[code] for code in found.codes.tolist()]
    changes = {"tokens": tokens, "lower_case": lower_case, "maximum_length": longest}
    each = [divide(text, DEFAULT_DATA.model_copy(update=changes)) for text in texts]
    assert found.lengths.tolist() == list(map(len, each))
    assert names == [token for own in each for token in own]
    assert found.names == tuple(dict.fromkeys(names))
    if tokens == "words":
        expected = [words_of(" ".join((text.lower() if lower_case else text).split())) for text in texts]
        assert each == [own[:longest] if longest else own for own in expected]
