"""The pages as a browser gets them, without one."""

import http.client
import io
import re
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from time import time_ns
from urllib.parse import quote, urlsplit

import pytest

from mounted_world import expected_path
from web_world import HOSTILE, PAGE
from zdiffsync.errors import ExitCode, IntegrityError, UsageError
from zdiffsync.restore.files import PointFiles
from zdiffsync.web.app import make_app
from zdiffsync.web.nights import calendar, chart, nights
from zdiffsync.web.server import open_server


def file(client, world, sequence, path):
    return client.get(f"/file?point={world.points[sequence]}&path={quote(path)}")


def test_without_the_token_nothing_is_shown(stranger, gate, world):
    for address in (
        "/",
        "/static/style.css",
        f"/file?point={world.points[0]}&path=docs/letter.txt",
        "/?token=wrong",
        "/x",
    ):
        answer = stranger.get(address)
        assert answer.status_code == 403
        assert b"tank" not in answer.data
    assert stranger.get("/", headers={"Cookie": f"zdiffsync-4711={gate.token}"}).status_code == 403


def test_the_token_becomes_a_cookie_and_a_clean_address(stranger, gate):
    answer = stranger.get(f"/dataset?name=tank/data&token={gate.token}")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert gate.token not in cookie
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4711", 200), ("localhost:9000", 200), ("[::1]:4711", 200), ("evil.example:4711", 403),
        ("127.0.0.1.evil.example", 403), ("192.168.1.2:4711", 403), ("[::1", 403), ("", 403),
    ],
)  # fmt: skip
def test_it_answers_to_no_other_name(client, host, status):
    cookie = client.get_cookie("zdiffsync-4711")
    headers = {"Host": host, "Cookie": f"{cookie.key}={cookie.value}"}
    plain = client.application.test_client(use_cookies=False)
    assert plain.get("/", headers=headers).status_code == status


def test_it_only_shows(client):
    for method in (client.post, client.put, client.delete, client.patch, client.options):
        assert method("/").status_code == 405
    assert client.head("/").status_code == 200


@pytest.mark.parametrize("address", ["/", "/static/style.css", "/nothing"])
def test_every_answer_forbids_scripts(client, address):
    with client.get(address) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert b"<script" not in answer.data


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_shown_escaped_and_its_bytes_come_back(client, world, name):
    listing = client.get(f"/browse?point={world.points[2]}&path=odd").text
    assert "<img" not in listing
    assert "<svg onload" not in listing
    assert "\u202e" not in listing
    answer = file(client, world, 2, f"odd/{name}".encode(errors="surrogateescape"))
    assert answer.data == HOSTILE[name]
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "\n" not in answer.headers["Content-Disposition"]


def test_a_page_that_was_backed_up_is_never_shown_as_one(client, world):
    answer = file(client, world, 0, "docs/page.html")
    assert (answer.data, answer.content_type) == (PAGE, "application/octet-stream")
    assert answer.headers["Content-Disposition"] == "attachment; filename=page.html"


def test_a_directory_as_a_tar_archive(client, world):
    answer = client.get(f"/tar?point={world.points[0]}&path=docs")
    expected = expected_path(world, 0) / "docs"
    with tarfile.open(fileobj=io.BytesIO(answer.data)) as archive:
        assert sorted(archive.getnames()) == [
            "docs", "docs/deep", "docs/deep/same.txt", "docs/large", "docs/letter.txt", "docs/page.html",
            "docs/plan.txt",
        ]  # fmt: skip
        for name in ("large", "letter.txt", "deep/same.txt"):
            assert archive.extractfile(f"docs/{name}").read() == (expected / name).read_bytes()
        same = archive.getmember("docs/letter.txt")
        assert same.islnk()
        assert same.linkname == "docs/deep/same.txt"
        assert archive.getmember("docs/large").mtime == pytest.approx((expected / "large").stat().st_mtime)


def test_what_is_not_there_is_a_sentence(client, world):
    for address in (
        "/browse?point=0",
        "/dataset?name=tank/none",
        f"/file?point={world.points[0]}&path=docs",
        "/file",
    ):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Traceback" not in answer.text
    assert client.get(f"/browse?point={world.points[0]}&path=docs/new.txt").status_code == 404
    assert client.get("/versions?dataset=tank/data&path=never").status_code == 404
    assert client.get("/dataset?name=tank/data&days=x&page=%00").status_code == 200


@pytest.mark.parametrize("address", ["/file?path=docs/large", "/tar?path=docs"])
def test_a_damaged_file_breaks_the_download_off(source, world, address, monkeypatch):
    """Through the real server: what arrived must not look whole."""
    opened = PointFiles.open

    class Damaged:
        def __init__(self, content):
            self._content, self.size = content, content.size

        def read(self, offset, length):
            if offset:
                raise IntegrityError("pack 7 is damaged")
            return self._content.read(offset, length)

    monkeypatch.setattr(PointFiles, "open", lambda self, found: Damaged(opened(self, found)))
    with served(source) as (port, cookie):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", f"{address}&point={world.points[0]}", headers={"Cookie": cookie})
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        connection.close()


@contextmanager
def served(source):
    """A running server: its port, and the cookie of who has shown the token."""
    server, url = open_server(source, "127.0.0.1", 0, exposed=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
        connection.request("GET", f"/?{address.query}")
        cookie = connection.getresponse().getheader("Set-Cookie").partition(";")[0]
        connection.close()
        yield address.port, cookie
    finally:
        server.shutdown()
        thread.join()


def test_it_listens_where_it_was_told_clearly(source):
    for address, words in (("0.0.0.0", "--expose"), ("nas", "no IP address"), ("203.0.113.7", "--expose")):
        with pytest.raises(UsageError, match=words):
            open_server(source, address, 0, exposed=False)
    with pytest.raises(UsageError, match=r"cannot listen on 203\.0\.113\.7 port 0"):
        open_server(source, "203.0.113.7", 0, exposed=True)


def test_without_flask_it_says_what_to_install(world):
    program = "import sys; sys.modules['flask'] = None; from zdiffsync.cli.main import main; main()"
    argv = [sys.executable, "-c", program, "-c", world.config, "web"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (ExitCode.TOOL, "")
    assert "pipx inject zdiffsync flask" in done.stderr


def test_a_base_never_sets_the_scale_and_days_without_points_show(source):
    """A base a thousand times a night is cut off; a missed day has a cell, and no bar."""
    base, *increments = source.points() * 3
    uploads = [3 << 30, 2_500_000, 1_000_000, 0, 2_100_000]
    day = 86_400 * 10**9
    points = [
        replace(
            point,
            created_ns=time_ns() - (9 - number * 2) * day,
            sequence=number,
            stats={"uploaded_bytes": size},
        )
        for number, (point, size) in enumerate(zip([base, *increments], uploads, strict=False))
    ]
    found = chart(nights(points), 30)
    assert [bar.cut for bar in found.bars] == [True, False, False, False, False]
    assert [mark.text for mark in found.rows] == ["0 B", "1.0 MiB", "2.0 MiB", "3.0 MiB"]
    heights = [bar.height for bar in found.bars]
    assert heights[1] / heights[2] == pytest.approx(2.5)
    assert heights[3] == 0
    cells = calendar(nights(points), 53).cells
    assert [cell.night is not None for cell in cells[-10:]] == [True, False] * 5
    assert [cell.level for cell in cells[-10::2]] == [4, 4, 2, 1, 3]


def test_long_lists_come_in_pages(client, world, monkeypatch):
    monkeypatch.setattr("zdiffsync.web.browse._AT_ONCE", 4)
    monkeypatch.setattr("zdiffsync.web.dataset._AT_ONCE", 2)
    monkeypatch.setattr("zdiffsync.web.diff._AT_ONCE", 1)
    for address, count in (
        ("/dataset?name=tank/data", 3), (f"/browse?point={world.points[2]}&path=odd", len(HOSTILE)),
        (f"/diff?old={world.points[0]}&new={world.points[2]}", 3),
    ):  # fmt: skip
        rows, text = 0, client.get(address).text
        while True:
            rows += text.partition("<tbody>")[2].count("<tr>")
            following = re.search(r'href="([^"]*)">Next<', text)
            if following is None:
                break
            text = client.get(unescape(following[1])).text
        assert rows == count


def test_the_overview_shows_what_status_says(client, source, gate):
    page = client.get("/").text  # the points are a year old
    assert "1 of 1 dataset needs a look" in page
    assert '<span class="badge bad">late</span>' in page
    then = source.points()[-1].created_ns + 10**9
    well = make_app(replace(source, look=lambda _now: source.look(then)), gate).test_client()
    well.get(f"/?token={gate.token}")
    assert "All is well" in well.get("/").text
    assert '<span class="badge good">ok</span>' in well.get("/dataset?name=tank/data").text
