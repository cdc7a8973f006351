"""Access to the server: who may send what, and at which address it listens."""

from __future__ import annotations

import json

import pytest

from scanline.serving.access import Access
from tests.model.test_session import new_model
from tests.serving.client import in_thread, problem, request_head

TOKEN = "correct-horse-battery"
ROUTES = {
    "/": {"GET"},
    "/assets/app.js": {"GET"},
    "/assets/app.css": {"GET"},
    "/v1/predict": {"POST"},
    "/v1/model": {"GET"},
    "/v1/gallery": {"GET"},
    "/v2/health/live": {"GET"},
    "/v2/health/ready": {"GET"},
    "/metrics": {"GET"},
    "/openapi.json": {"GET", "HEAD"},
    "/problems": {"GET"},
    "/problems/wrong-host": {"GET"},
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_has_its_method_and_no_other(server, path):
    for method in METHODS:
        answer = server.request(method, path, b"{}" if method == "POST" else None)
        if method in ROUTES[path]:
            assert answer.status in (200, 415), (method, answer)
            continue
        assert answer.status == 405, (method, answer)
        allow = answer.header("allow")
        assert allow is not None
        assert set(allow.split(", ")) == ROUTES[path]
        if method != "HEAD":
            problem(answer, "wrong-method")


def test_nothing_is_loaded_changed_or_stopped_over_http(sequences):
    routes = {}
    for path, methods in sequences.get("/openapi.json").json()["paths"].items():
        routes[path] = {method.upper() for method in methods}
    assert routes == {
        "/v1/predict": {"POST"},
        "/v1/model": {"GET"},
        "/v1/gallery": {"GET"},
        "/v1/stream": {"GET"},
        "/v2/health/live": {"GET"},
        "/v2/health/ready": {"GET"},
        "/metrics": {"GET"},
        "/problems": {"GET"},
        "/problems/{name}": {"GET"},
    }


def test_queries_do_not_change_predictions(server):
    before = server.get("/v1/model").body, server.get("/v1/gallery").body
    server.predict([[[1] * 8] * 8], trace=True, what_if={"silence": [{"unit": 0}]})
    assert (server.get("/v1/model").body, server.get("/v1/gallery").body) == before


# --- Host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:{port}",
        "localhost:{port}",
        "LocalHost",
        "[::1]:{port}",
        "[::1]",
        "localhost:1",
    ],
)
def test_requests_to_a_name_of_this_server_are_accepted(server, host):
    assert server.get("/v1/model", {"Host": host.format(port=server.port)}).status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["evil.example:80"],
        ["127.0.0.1.evil.example"],
        ["evil.example#localhost"],
        ["localhost.evil.example"],
        ["127.0.0.2"],
        ["0.0.0.0"],
        ["[::2]"],
        ["::1"],
        ["localhost", "localhost"],
        ["localhost", "evil.example"],
        ["\xff"],
        ["x" * 1_000],
    ],
    ids=str,
)
def test_another_name_is_refused_on_every_route(server, hosts):
    lines = "".join(f"host: {host}\r\n" for host in hosts)
    for path in ("/", "/v1/model", "/v2/health/live", "/metrics", "/nothing"):
        with server.connect() as connection:
            connection.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
            found = problem(connection.receive(), "wrong-host")
            assert found["detail"].startswith("expected the header Host to name this server, found ")


def test_another_name_is_refused_before_the_body_is_read(server):
    with server.connect() as connection:
        headers = {"host": "evil.example", "content-length": "100", "content-type": "application/json"}
        connection.send(request_head("POST", "/v1/predict", headers, server.port))
        problem(connection.receive(), "wrong-host")


def test_requests_to_an_allowed_name_are_accepted():
    with in_thread(new_model(), Access(frozenset({"models.example"}))) as server:
        assert server.get("/v1/model", {"host": "Models.Example:8000"}).status == 200
        problem(server.get("/v1/model", {"host": "localhost"}), "wrong-host")


# --- Origin


def test_a_page_of_this_server_may_send_requests(server):
    own = f"http://127.0.0.1:{server.port}"
    assert server.get("/v1/model", {"origin": own}).status == 200
    name = f"LOCALHOST:{server.port}"
    assert (
        server.get("/v1/model", [("host", name), ("origin", f"http://localhost:{server.port}")]).status == 200
    )


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "http://evil.example", "http://127.0.0.1:1", "http://127.0.0.1", "http://localhost:{port}",
        "127.0.0.1:{port}", "http://evil@127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example", "http://[",
        "http://[::1", "http://]", "file://", "\xff", "x" * 2_000, "http://127.0.0.1:{port}/",
    ],
)  # fmt: skip
def test_a_page_of_another_site_may_not_send_requests(server, origin):
    found = problem(server.get("/v1/model", {"origin": origin.format(port=server.port)}), "foreign-origin")
    assert found["detail"].startswith(f"expected a page of 127.0.0.1:{server.port}, found one of ")


def test_of_two_origins_both_must_be_allowed(server):
    own = ("origin", f"http://127.0.0.1:{server.port}")
    for pair in ([own, ("origin", "http://evil.example")], [("origin", "http://evil.example"), own]):
        problem(server.get("/v1/model", pair), "foreign-origin")


def test_an_allowed_site_may_send_requests():
    access = Access(frozenset({"127.0.0.1"}), frozenset({"https://lab.example"}))
    with in_thread(new_model(), access) as server:
        assert server.get("/v1/model", {"origin": "https://lab.example"}).status == 200
        assert server.get("/v1/model", {"origin": "https://LAB.example"}).status == 200
        problem(server.get("/v1/model", {"origin": "http://lab.example"}), "foreign-origin")
        problem(server.get("/v1/model", {"origin": "https://lab.example.evil"}), "foreign-origin")


# --- the token


@pytest.fixture(scope="module")
def guarded():
    with in_thread(new_model(), Access(frozenset({"127.0.0.1"}), token=TOKEN)) as found:
        yield found


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ([], "none"),
        ([""], "another"),
        ([TOKEN], "another"),
        ([f"Basic {TOKEN}"], "another"),
        (["Bearer"], "another"),
        (["Bearer "], "another"),
        ([f"Bearer {TOKEN}x"], "another"),
        ([f"Bearer {TOKEN[:-1]}"], "another"),
        ([f"Bearer {TOKEN.upper()}"], "another"),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], "another"),
        (["Bearer wrong", f"Bearer {TOKEN}"], "another"),
        (["Bearer \xff\xfe"], "another"),
    ],
    ids=str,
)
def test_without_the_token_nothing_about_the_model_is_sent(guarded, shown, found):
    headers = [("authorization", each) for each in shown]
    for path in (
        "/v1/model",
        "/v1/gallery",
        "/v1/stream",
        "/metrics",
        "/openapi.json",
        "/nothing",
        "/v1/predict",
    ):
        answer = guarded.request("POST" if "predict" in path else "GET", path, headers=headers, plain=True)
        detail = problem(answer, "no-token")["detail"]
        assert detail == f"expected Authorization: Bearer and this server's token, found {found}"
        assert TOKEN not in detail
        assert answer.header("www-authenticate") == "Bearer"


def test_with_the_token_responses_are_those_of_an_open_server(guarded):
    for path in ("/v1/model", "/v1/gallery", "/metrics", "/openapi.json"):
        assert guarded.get(path).status == 200
    assert guarded.predict([[[0] * 5]]).status == 200


def test_the_page_and_the_health_need_no_token(guarded):
    for path in (
        "/",
        "/assets/app.js",
        "/assets/app.css",
        "/v2/health/live",
        "/v2/health/ready",
        "/problems",
    ):
        assert guarded.request("GET", path, plain=True).status == 200


@pytest.mark.parametrize(
    "path",
    ["/assets/../v1/model", "//v1/model", "/v1/model/", "/assets/..%2fv1/model", "/v2/health/../../v1/model"],
)
def test_no_path_bypasses_the_token(guarded, path):
    assert guarded.request("GET", path, plain=True).status in (401, 404)


def test_a_token_in_the_query_is_ignored(guarded):
    problem(guarded.request("GET", f"/v1/model?token={TOKEN}", plain=True), "no-token")


# --- the command


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "models.example", ""])
def test_a_server_for_other_machines_requires_a_token(scanline, trained, host, monkeypatch):
    monkeypatch.delenv("SCANLINE_TOKEN", raising=False)
    code, out, err = scanline("serve", trained, "--host", host)
    assert (code, out) == (2, "")
    assert "can be reached from other machines: set SCANLINE_TOKEN or --token-file" in " ".join(err.split())


@pytest.mark.parametrize(
    "content", [b"", b"short", b"x" * 5_000, b"with a blank in it", "schlüssel-zum-glück".encode()]
)
def test_a_short_or_unprintable_token_is_refused(scanline, trained, tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    code, _, err = scanline("serve", trained, "--host", "0.0.0.0", "--token-file", tmp_path / "token")
    assert code == 2
    assert "the token must be 16 to 4,096 printable ASCII characters without blanks" in " ".join(err.split())


def test_a_missing_token_file_is_named(scanline, trained, tmp_path):
    code, _, err = scanline("serve", trained, "--token-file", tmp_path / "none")
    assert code == 2
    assert "cannot read --token-file" in " ".join(err.split())


def test_the_token_of_the_environment_is_checked_too(scanline, trained, monkeypatch):
    monkeypatch.setenv("SCANLINE_TOKEN", "short")
    assert scanline("serve", trained, "--host", "0.0.0.0")[0] == 2


def test_an_address_in_use_is_named_with_a_remedy(scanline, server, trained):
    code, _, err = scanline("serve", trained, "--no-gallery", "--port", server.port)
    assert code == 2
    printed = " ".join(err.split())
    assert f"cannot listen at 127.0.0.1:{server.port}: " in printed
    assert "name another --host or --port" in printed


def test_a_path_that_is_not_a_run_is_refused(scanline, tmp_path):
    code, _, err = scanline("serve", tmp_path / "none")
    assert code != 0
    assert "none" in err


def test_the_server_listens_on_this_machine_only_by_default(server):
    """Linux tells of every socket that listens, its address as the kernel holds it."""
    from pathlib import Path

    found = [
        line.split()[1].split(":")[0]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{server.port:04X}") and line.split()[3] == "0A"
    ]
    assert found == ["0100007F"]


def test_the_type_of_every_problem_can_be_looked_up(server):
    found = server.get("/problems").json()
    assert json.dumps(found)
    for name, documented in found.items():
        assert server.get(f"/problems/{name}").json() == documented
        assert documented.keys() == {"status", "title", "meaning"}
        assert 400 <= documented["status"] < 600
