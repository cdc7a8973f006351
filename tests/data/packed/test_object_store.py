"""Packed data sets in an S3 bucket: a real server on loopback, and a proxy that breaks connections to it."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from scanline.data.packed import location
from scanline.data.packed.location import Location
from scanline.data.packed_data import read_packed
from scanline.errors import DataError, ScanlineError, UsageError
from tests.data.packed import small
from tests.object_store import ACCESS_KEY, SECRET_KEY

DENIED = "access denied; check the credentials in the environment and the rights of the bucket"
BODY = 500  # more than the head of an answer, and less than the smallest file
LARGE = np.random.default_rng(0).bytes(12_000_000)  # uploaded in parts


@pytest.fixture(scope="module")
def files():
    return small.files()


@pytest.fixture
def packed(object_store, files) -> str:
    """A packed data set in a bucket."""
    return put(object_store, "sets/small", files)


@pytest.fixture
def proxy(object_store, packed, monkeypatch):
    """The proxy in front of the server; the pauses between attempts are short."""
    monkeypatch.setattr(location, "_FIRST_WAIT_S", 0.005)
    with object_store.through_proxy() as proxy:
        yield proxy


def put(object_store, folder: str, files: Mapping[str, bytes]) -> str:
    """Upload files with another client than ours, and return the address of their folder."""
    for name, content in files.items():
        object_store.put(f"{folder}/{name}", content)
    return f"{object_store.uri}/{folder}"


def read_all(address: str) -> np.ndarray:
    """Return the steps of all sequences of all splits."""
    sources = read_packed(address).splits.values()
    return np.concatenate([part.concatenated for source in sources for part in source.parts()])


def fault(address: str) -> str:
    """Read a packed data set and return the error, one line that begins with its address."""
    with pytest.raises(DataError) as error:
        read_all(address)
    text = str(error.value)
    assert text.startswith(address.rpartition("/")[0])
    assert "\n" not in text
    assert len(text) < 300
    return text.removeprefix(f"{address}/")


# What is stored.


def test_a_bucket_gives_the_sequences_that_a_folder_gives(packed, files, tmp_path):
    assert np.array_equal(read_all(packed), read_all(small.write(str(tmp_path), files)))
    stored, local = read_packed(packed), read_packed(str(tmp_path))
    assert stored.splits["train"].fingerprint() == local.splits["train"].fingerprint()


def test_files_are_listed_written_and_removed(object_store):
    folder = Location.parse(f"{object_store.uri}/a/b/")
    assert folder.uri == f"{object_store.uri}/a/b"
    assert folder.names() == []
    for name, content in (("one", b"1"), ("two", LARGE), ("none", b"")):
        folder.write(name, content)
        assert folder.read(name, 10**9) == content == object_store.get(f"a/b/{name}")
    folder.write("one", b"new")
    assert folder.read("one", 10) == b"new"
    assert folder.names() == ["none", "one", "two"]
    assert Location.parse(f"{object_store.uri}/a").names() == []
    assert (folder.exists("one"), folder.exists("three")) == (True, False)
    for name in ("one", "two", "none", "three"):
        folder.remove(name)
    assert folder.names() == []
    assert all(key.endswith("/") for key in object_store.object_names())


def test_a_file_larger_than_expected_is_not_read(object_store):
    folder = Location.parse(f"{object_store.uri}/a")
    folder.write("one", b"12345")
    with pytest.raises(DataError, match="/a/one: expected at most 4 bytes, found 5"):
        folder.read("one", 4)


# What is wrong with it.


def test_a_flipped_bit_of_a_row_group(packed, object_store, files):
    damaged = bytearray(files["train-000001.parquet"])
    damaged[700] ^= 4
    object_store.put("sets/small/train-000001.parquet", bytes(damaged))
    assert fault(packed).startswith("train-000001.parquet: expected the content that the manifest describes")


@pytest.mark.parametrize("name", ["manifest.json", "train-index.parquet", "test-000000.parquet"])
def test_a_missing_file(packed, object_store, name):
    object_store.delete(f"sets/small/{name}")
    assert fault(packed).startswith(f"{name}: cannot be read (no such file or bucket)")


def test_a_file_that_was_cut(packed, object_store, files):
    object_store.put("sets/small/train-000000.parquet", files["train-000000.parquet"][:-1])
    assert fault(packed).startswith("train-000000.parquet: expected the content")


def test_a_manifest_that_lies(object_store, files):
    uri = put(object_store, "lie", small.lying(files, lambda tree: tree.update(features=3)))
    assert "expected statistics of 3 features" in fault(uri)


def test_a_schema_of_another_version(object_store, files):
    def later(tree):
        tree.update(schema=7, scanline="9.0.0")

    uri = put(object_store, "later", small.lying(files, later))
    assert fault(uri) == (
        "manifest.json: expected schema 1, found schema 7, written by Scanline 9.0.0; "
        "read it with that version, or pack the source again"
    )


def test_no_such_bucket(object_store):
    uri = "s3://bucket-that-nobody-made/sets"
    assert fault(uri).startswith("manifest.json: cannot be read (no such file or bucket)")
    with pytest.raises(
        ScanlineError, match="cannot write s3://bucket-that-nobody-made/sets/one: no such bucket"
    ):
        Location.parse(uri).write("one", b"1")


# A store that refuses.


def test_a_bucket_that_forbids_reading(packed, object_store):
    object_store.deny("s3:GetObject", "s3:HeadObject")
    assert fault(packed) == f"manifest.json: cannot be read ({DENIED})"


def test_a_bucket_that_forbids_writing(packed, object_store):
    object_store.deny("s3:PutObject", "s3:PostObject")
    with pytest.raises(ScanlineError) as error:
        Location.parse(packed).write("one", b"1")
    assert str(error.value) == f"cannot write {packed}/one: {DENIED}"


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_a_refusal_is_not_tried_again(packed, proxy, code):
    proxy.answer("403 Forbidden", code, f"{ACCESS_KEY} has no rights")
    before = proxy.connections
    assert fault(packed) == f"manifest.json: cannot be read ({DENIED})"
    assert proxy.connections == before + 1


@pytest.mark.parametrize(
    ("status", "code"),
    [("400 Bad Request", "ExpiredToken"), ("301 Moved Permanently", "PermanentRedirect")],
)
def test_credentials_or_a_region_that_do_not_fit(packed, proxy, status, code):
    proxy.answer(status, code)
    before = proxy.connections
    remedy = "check the region, the endpoint and whether the credentials have expired"
    assert fault(packed) == f"manifest.json: cannot be read (HTTP status {status[:3]}; {remedy})"
    assert proxy.connections == before + 1


# Connections that break.


def test_connections_that_break_in_the_middle_are_tried_again(packed, proxy, files, tmp_path):
    proxy.cut_responses(3, BODY)
    steps = read_all(packed)
    assert proxy.broken >= 3
    assert np.array_equal(steps, read_all(small.write(str(tmp_path), files)))


def test_names_are_not_taken_for_the_reason_of_an_error(object_store, proxy, files):
    uri = put(object_store, "signatures/forbidden/not found", files)
    proxy.refuse(2)
    assert len(read_all(uri)) > 0
    assert proxy.broken == 2


def test_connections_that_always_break_in_the_middle(packed, proxy):
    proxy.cut_responses(1_000, BODY)
    text = fault(packed)
    assert text.startswith("manifest.json: cannot be read (")
    assert text.endswith(" after 5 attempts")


def test_a_server_that_is_away_for_a_moment(packed, proxy):
    proxy.refuse(3)
    assert len(read_all(packed)) > 0
    assert proxy.broken == 3


def test_a_server_that_is_not_there(packed, object_store, monkeypatch):
    monkeypatch.setattr(location, "_FIRST_WAIT_S", 0.005)
    object_store.connect("http://127.0.0.1:1")
    assert fault(packed) == "manifest.json: cannot be read (Could not connect to server) after 5 attempts"


@pytest.mark.parametrize("status", ["503 Slow Down", "500 Internal Server Error"])
def test_a_server_that_is_busy(packed, proxy, status):
    proxy.answer(status, "SlowDown")
    assert fault(packed) == f"manifest.json: cannot be read (HTTP status {status[:3]}) after 5 attempts"


def test_a_server_that_does_not_answer_in_time(packed, proxy, monkeypatch):
    monkeypatch.setattr(location, "_TIMEOUT_S", 0.1)
    monkeypatch.setattr(location, "_ATTEMPTS", 1)  # PyArrow waits for two seconds at least
    monkeypatch.setattr(location, "_filesystems", {})
    proxy.delay(5)
    assert "imeout" in fault(packed)


@pytest.mark.parametrize("content", [b"new", LARGE], ids=["small", "in parts"])
def test_a_write_that_breaks_leaves_the_old_content(object_store, proxy, content, monkeypatch):
    folder = Location.parse(object_store.uri)
    folder.write("one", b"old")
    monkeypatch.setattr(location, "_ATTEMPTS", 1)
    for refused in (1, 2, 3, 4):
        proxy.heal()
        proxy.cut_requests(refused, 300 if content == b"new" else 2_000_000)
        with pytest.raises(ScanlineError, match=r"cannot write s3://bucket-\d+/one: "):
            folder.write("one", content)
        assert object_store.get("one") == b"old"
    proxy.heal()
    assert folder.names() == ["one"]
    folder.write("one", content)
    assert object_store.get("one") == content


def test_a_write_that_breaks_is_tried_again(object_store, proxy):
    proxy.cut_requests(2, 2_000_000)
    Location.parse(object_store.uri).write("one", LARGE)
    assert object_store.get("one") == LARGE
    assert proxy.broken == 2


# Credentials.

SECRETS = [
    "s3://user:pa55word@bucket/folder",
    "s3://user:pa55/word@bucket/folder",
    "s3://pa55word@bucket/folder",
    "s3://key:pa55word/folder",
    "s3://bucket/folder?secret_key=pa55word",
    "s3://bucket/folder?secret_key=a@pa55word",
    "s3://bucket/folder#pa55word",
    "gs://user:pa55word@bucket/folder",
    "az://container/folder?sig=pa55word",
    "https://user:pa55word@host/folder",
    "https://host/folder?X-Amz-Signature=pa55word",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_an_address_with_a_secret_is_refused_without_showing_it(uri):
    with pytest.raises(UsageError) as error:
        Location.parse(uri)
    assert "pa55" not in str(error.value)
    assert "word" not in str(error.value)


@pytest.mark.parametrize(
    "value", ["http://user:pa55word@127.0.0.1:9", "ftp://pa55word", "http://h/?a=pa55word"]
)
def test_an_endpoint_that_is_none_is_refused_without_showing_it(packed, object_store, value):
    object_store.connect(value)
    with pytest.raises(UsageError, match=r"^AWS_ENDPOINT_URL: expected https://HOST") as error:
        read_packed(packed)
    assert "pa55" not in str(error.value)


def test_credentials_that_a_server_repeats_are_not_shown(packed, proxy):
    proxy.answer("503 Slow Down", "SlowDown", f"{ACCESS_KEY} with {SECRET_KEY} is too fast")
    with pytest.raises(DataError) as error:
        Location.parse(packed).names()
    assert "SLOW_DOWN: *** with *** is too fast" in str(error.value)


# The command line.


def run(object_store, *arguments: str, folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scanline", *arguments],
        env={**os.environ, **object_store.environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_model_trained_from_a_bucket_knows_its_address_and_no_credentials(
    packed, object_store, scanline, tmp_path, caplog
):
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "run"
    done = scanline("train", packed, "--run", out, "--set", "train.samples=200")
    assert done[0] == 0, done[2]
    assert packed in (out / "recipe.toml").read_text()
    evaluated = scanline("evaluate", out, "--json")
    assert evaluated[0] == 0, evaluated[2]
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    shown = "".join([*done[1:], *evaluated[1:], caplog.text]).encode()
    for content in (*written, shown, object_store.get("sets/small/manifest.json")):
        assert ACCESS_KEY.encode() not in content
        assert SECRET_KEY.encode() not in content


@pytest.mark.parametrize("uri", SECRETS)
def test_no_command_shows_a_secret_of_an_address(scanline, uri, tmp_path):
    for command in (["data", "show", uri], ["train", uri, "--run", tmp_path / "run"]):
        code, out, err = scanline(*command)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert "pa55" not in err
        assert "word" not in err
    assert not (tmp_path / "run").exists()


@dataclasses.dataclass(frozen=True)
class Case:
    command: tuple[str, ...]
    code: int
    message: str


def test_a_user_gets_one_line(packed, object_store, files, tmp_path, scanline):
    damaged = bytearray(files["test-000000.parquet"])
    damaged[300] ^= 1
    uri = put(object_store, "bad", {**files, "test-000000.parquet": bytes(damaged)})
    cases = [
        Case(("data", "show", "s3://no-such-bucket-at-all/x"), 3, "no such file or bucket"),
        Case(("data", "show", f"{packed}/none"), 3, "no such file or bucket"),
        Case(
            ("train", uri, "--run", str(tmp_path / "r"), "--set", "train.samples=200"),
            3,
            "expected the content",
        ),
        Case(("data", "show", "s3:/x"), 3, "s3:/x"),
    ]
    for case in cases:
        code, _, err = scanline(*case.command)
        assert code == case.code, err
        assert case.message in err.splitlines()[-1]
        assert err.count("scanline: ") == 1
        assert "Traceback" not in err
    assert not (tmp_path / "r" / "model").exists()


def test_a_process_of_its_own_reports_a_forbidden_bucket_in_one_line(packed, object_store, tmp_path):
    object_store.deny("s3:GetObject", "s3:HeadObject")
    done = run(object_store, "data", "show", packed, folder=tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"scanline: {packed}/manifest.json: cannot be read ({DENIED})"]
