from __future__ import annotations

import io
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from services.web import Web

from artline.artifacts.artifact import Artifact
from artline.artifacts.audit import audit_content
from artline.artifacts.references import download, web
from artline.artifacts.store import ArtifactStore
from artline.errors import (
    AuthError,
    IntegrityError,
    InvalidPathError,
    SourceNotFoundError,
    StoreUnavailableError,
    UsageError,
)

LARGE = random.Random(7).randbytes(9 << 20)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(web, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    server = Web()
    yield server
    server.stop()


def refer(store: ArtifactStore, uri: str, name: str | None = None, **options: Any) -> Artifact:
    artifact = Artifact("pages", "dataset", store=store)
    artifact.add_reference(uri, name, **options)
    return store.log(artifact, project="p")


def test_a_strong_etag_is_kept_and_nothing_is_read(store: ArtifactStore, server: Web, tmp_path: Path) -> None:
    url = server.put("/data/train%20set.csv", b"a,b\n1,2\n", etag='"v1"')
    version = refer(store, url)
    assert [method for method, *_ in server.seen()] == ["HEAD"]
    entry = version.get_entry("train set.csv")
    assert (entry.ref, entry.size, entry.digest) == (url, 8, "")
    assert entry.reference is not None
    assert entry.reference.etag == "v1"
    out = version.download(tmp_path / "out")
    assert (out / "train set.csv").read_bytes() == b"a,b\n1,2\n"
    assert [method for method, *_ in server.seen()] == ["GET"]
    with version.open("train set.csv") as stream:
        assert stream.read() == b"a,b\n1,2\n"


@pytest.mark.parametrize("etag", ["", 'W/"v1"', "v1"])
def test_without_a_strong_etag_the_content_is_what_counts(
    store: ArtifactStore, server: Web, tmp_path: Path, etag: str
) -> None:
    url = server.put("/a.txt", b"alpha", etag=etag)
    version = refer(store, url)
    assert version.get_entry("a.txt").digest.startswith("blake3:")
    version.verify(version.download(tmp_path / "out"))
    server.seen()
    version.download(tmp_path / "out")
    assert server.seen() == []
    server.put("/a.txt", b"ALPHA", etag=etag)
    with pytest.raises(IntegrityError, match=r"content differs \(recorded blake3:\w+, found blake3:\w+\)"):
        version.download(tmp_path / "again")
    assert os.listdir(tmp_path / "again") == []


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"content": b"alpha", "etag": '"v2"'}, r"its ETag differs \(recorded v1, found v2\)"),
        ({"content": b"longer", "etag": '"v1"'}, r"its size differs \(recorded 5 bytes, found 6 bytes\)"),
        ({"content": b"alpha", "etag": 'W/"v1"'}, r"its ETag differs \(recorded v1, found none\)"),
        ({"content": b"alph", "etag": '"v1"', "sized": False}, r"recorded 5 bytes, found 4 bytes"),
        ({"content": b"alphabet", "etag": '"v1"', "sized": False}, r"recorded 5 bytes, found more"),
        ({"codes": [404] * 9}, r"is gone \(recorded 5 bytes, ETag v1, found nothing\)"),
        ({"codes": [410] * 9}, "is gone"),
    ],
)
def test_a_changed_or_vanished_page_is_named_with_both_sides(
    store: ArtifactStore, server: Web, tmp_path: Path, now: dict[str, Any], message: str
) -> None:
    version = refer(store, server.put("/a.txt", b"alpha", etag='"v1"'), "x/page")
    server.put("/a.txt", **now)
    with pytest.raises(IntegrityError, match=rf"/a.txt', which entry 'x/page' refers to, .*{message}"):
        version.download(tmp_path / "out")
    assert os.listdir(tmp_path / "out" / "x") == []
    (fault,) = audit_content(version).faults
    assert fault.path == "x/page"
    if "gone" in message:
        with pytest.warns(UserWarning, match="1 of the referenced objects is gone"):
            version.download(tmp_path / "out", allow_missing_references=True)
    else:
        with pytest.raises(IntegrityError, match="has changed"):
            version.download(tmp_path / "out", allow_missing_references=True)
    assert os.listdir(tmp_path / "out" / "x") == []


def test_without_a_checksum_size_and_time_are_kept(store: ArtifactStore, server: Web, tmp_path: Path) -> None:
    url = server.put("/a.txt", b"alpha", etag='"v1"', modified=1_700_000_000)
    version = refer(store, url, checksum=False)
    server.put("/a.txt", b"ALPHA", etag='"v2"', modified=1_700_000_000)
    out = version.download(tmp_path / "out")
    assert (out / "a.txt").stat().st_mtime == 1_700_000_000
    server.seen()
    version.download(out)
    assert server.seen() == []
    server.put("/a.txt", b"alpha", modified=1_700_000_001)
    with pytest.raises(IntegrityError, match=r"modification time differs \(recorded 2023-11-14T22:13:20"):
        version.download(tmp_path / "again")
    with pytest.raises(UsageError, match="does not say how large it is"):
        refer(store, server.put("/b.txt", b"beta", sized=False), checksum=False)


def test_servers_without_head_or_length(store: ArtifactStore, server: Web, tmp_path: Path) -> None:
    url = server.put("/a.txt", b"alpha", etag='"v1"', head=False)
    version = refer(store, url)
    assert version.get_entry("a.txt").digest == ""
    assert [method for method, *_ in server.seen()] == ["HEAD", "GET"]
    version.download(tmp_path / "out")
    endless = refer(store, server.put("/b.txt", b"beta", etag='"v1"', sized=False, ranges=False))
    assert endless.get_entry("b.txt").digest.startswith("blake3:")
    assert (endless.download(tmp_path / "b") / "b.txt").read_bytes() == b"beta"
    with endless.open("b.txt") as stream:
        stream.seek(2)
        assert stream.read() == b"ta"


def test_a_broken_connection_goes_on_where_it_broke(
    store: ArtifactStore, server: Web, tmp_path: Path
) -> None:
    url = server.put("/large", LARGE, etag='"v1"', drops=[3 << 20, 2 << 20, 0, 0, 0])
    version = refer(store, url)
    server.seen()
    progress: list[int] = []
    out = version.download(tmp_path / "out", progress=lambda files, size: progress.append(size))
    assert (out / "large").read_bytes() == LARGE
    assert sum(progress) == len(LARGE)
    asked = [headers.get("range") for _, _, headers in server.seen("GET")]
    assert asked == [None, "bytes=3145728-", *["bytes=5242880-"] * 4]
    assert os.listdir(out) == ["large"]


def test_an_interrupted_download_is_resumed_by_the_next_call(
    store: ArtifactStore, server: Web, tmp_path: Path
) -> None:
    version = refer(store, server.put("/large", LARGE, etag='"v1"'))
    server.pages["/large"].drops = [4 << 20, *[0] * 5]
    with pytest.raises(StoreUnavailableError, match="is out of reach"):
        version.download(tmp_path / "out")
    (left,) = (tmp_path / "out").iterdir()
    assert left.stat().st_size == 4 << 20
    server.pages["/large"].drops = []
    server.seen()
    out = version.download(tmp_path / "out")
    assert [headers.get("range") for _, _, headers in server.seen("GET")] == [f"bytes={4 << 20}-"]
    assert (out / "large").read_bytes() == LARGE
    assert os.listdir(out) == ["large"]


def test_what_an_earlier_call_left_is_not_trusted(store: ArtifactStore, server: Web, tmp_path: Path) -> None:
    version = refer(store, server.put("/large", LARGE))  # known by its digest
    server.pages["/large"].drops = [4 << 20, *[0] * 5]
    with pytest.raises(StoreUnavailableError):
        version.download(tmp_path / "out")
    (left,) = (tmp_path / "out").iterdir()
    with left.open("r+b") as stream:
        stream.write(b"damaged")
    server.pages["/large"].drops = []
    out = version.download(tmp_path / "out")
    assert (out / "large").read_bytes() == LARGE
    # A server that does not serve ranges sends all of it again.
    server.pages["/large"].ranges = False
    server.pages["/large"].drops = [4 << 20]
    assert (version.download(tmp_path / "again") / "large").read_bytes() == LARGE


def test_a_page_that_changes_between_two_connections_is_noticed(
    store: ArtifactStore, server: Web, tmp_path: Path
) -> None:
    version = refer(store, server.put("/large", LARGE, etag='"v1"'))
    server.pages["/large"].drops = [4 << 20, *[0] * 5]
    with pytest.raises(StoreUnavailableError):
        version.download(tmp_path / "out")
    server.put("/large", LARGE[::-1], etag='"v2"')
    with pytest.raises(IntegrityError, match="recorded v1, found v2"):
        version.download(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_reading_in_place_fetches_what_is_read(store: ArtifactStore, server: Web) -> None:
    version = refer(store, server.put("/large", LARGE, etag='"v1"'))
    server.seen()
    with version.open("large") as stream:
        stream.seek(-10, io.SEEK_END)
        assert stream.read() == LARGE[-10:]
        stream.seek(5 << 20)
        assert stream.read(100) == LARGE[5 << 20 :][:100]
        sizes = [headers["range"] for _, _, headers in server.seen("GET")]
        assert len(sizes) == 2
        server.put("/large", LARGE[::-1], etag='"v2"')
        stream.seek(0)
        with pytest.raises(IntegrityError, match="has changed while it was read"):
            stream.read(100)
    with pytest.raises(IntegrityError, match="recorded v1, found v2"):
        version.open("large")


def test_a_server_that_is_busy_is_asked_again(store: ArtifactStore, server: Web, tmp_path: Path) -> None:
    url = server.put("/a.txt", b"alpha", etag='"v1"', codes=[503, 429, 500], headers={"Retry-After": "0"})
    version = refer(store, url)
    assert version.size == 5
    server.pages["/a.txt"].codes = [502] * 50
    with pytest.raises(StoreUnavailableError, match=r"the server answered 502 Bad Gateway. Try again later"):
        version.download(tmp_path / "out")
    server.pages["/a.txt"].codes = []
    version.download(tmp_path / "out")


def test_a_server_that_stalls_or_is_away_is_given_up(
    store: ArtifactStore, server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "STALLED", 0.05)
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
    with pytest.raises(StoreUnavailableError, match="timed out"):
        refer(store, url)
    silent.close()
    with pytest.raises(StoreUnavailableError, match="out of reach"):
        refer(store, url)


def test_what_may_not_be_read_or_is_not_there(store: ArtifactStore, server: Web) -> None:
    with pytest.raises(AuthError, match="may not be read: the server answered 401"):
        refer(store, server.put("/secret", codes=[401] * 3))
    with pytest.raises(AuthError, match="answered 403"):
        refer(store, server.put("/secret", codes=[403] * 3))
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        refer(store, server.url + "/nothing")
    with pytest.raises(UsageError, match="does not end with a name"):
        refer(store, server.put("/folder/", b"index"))
    with pytest.raises(SourceNotFoundError):
        refer(store, "http://[::1")


@pytest.mark.parametrize("path", ["/..%2F..%2Fetc%2Fpasswd", "/..%2F", "/a%5Cb", "/a%00b", "/c:evil"])
def test_an_address_cannot_name_a_path_outside(store: ArtifactStore, server: Web, path: str) -> None:
    with pytest.raises((UsageError, InvalidPathError)):
        refer(store, server.put(path, b"root:x", etag='"v1"'))


def test_query_and_fragment_are_no_part_of_the_name(
    store: ArtifactStore, server: Web, tmp_path: Path
) -> None:
    url = server.put("/a.txt?rev=3", b"alpha", etag='"v1"')
    version = refer(store, url + "#top")
    (entry,) = version.files()
    assert (entry.path, entry.ref) == ("a.txt", url)
    assert (version.download(tmp_path / "out") / "a.txt").read_bytes() == b"alpha"


def test_redirects_are_followed_and_credentials_stay_with_their_host(
    store: ArtifactStore, server: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.put("/real", b"alpha", etag='"v1"', headers={"Set-Cookie": "session=1"})
    url = server.put("/moved.txt", location=server.other_url + "/real", headers={"Set-Cookie": "session=2"})
    version = refer(store, url)
    (entry,) = version.files()
    assert (entry.path, entry.ref) == ("moved.txt", url)
    assert (version.download(tmp_path / "out") / "moved.txt").read_bytes() == b"alpha"
    seen = server.seen()
    assert {path: "authorization" in headers for _, path, headers in seen} == {
        "/moved.txt": True,
        "/real": False,
    }
    assert not any("cookie" in headers for _, _, headers in seen)
    loop = server.put("/loop.txt", location="/loop.txt")
    with pytest.raises(StoreUnavailableError, match="more than 10 redirects"):
        refer(store, loop)
    with pytest.raises(UsageError, match="says a password") as failure:
        refer(store, url.replace("//", "//me:secret@"))
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("target", ["http://elsewhere/a.txt", "HTTP://127.0.0.1/a.txt"])
def test_an_encrypted_address_does_not_lead_to_one_that_is_not(target: str) -> None:
    answer = requests.Response()
    answer.status_code = 302
    answer.url = "https://127.0.0.1/a.txt"
    answer.headers["Location"] = target
    with pytest.raises(AuthError, match=r"leads on to '.*', which is not encrypted"):
        web._session().get_redirect_target(answer)
    for harmless in ("https://elsewhere/a.txt", "/b.txt", "//elsewhere/a.txt"):
        answer.headers["Location"] = harmless
        assert web._session().get_redirect_target(answer) == harmless


def test_many_pages_are_fetched_at_once_and_the_first_error_ends_it(
    store: ArtifactStore, server: Web, tmp_path: Path
) -> None:
    draft = Artifact("pages", "dataset", store=store)
    for number in range(100):
        draft.add_reference(server.put(f"/{number}.txt", b"%d" % number, etag=f'"{number}"'))
    version = store.log(draft, project="p")
    out = version.download(tmp_path / "out")
    assert sorted(int(path.read_bytes()) for path in out.iterdir()) == list(range(100))
    server.put("/17.txt", b"99", etag='"other"')
    with pytest.raises(IntegrityError, match=r"'17.txt' refers to, has changed"):
        version.download(tmp_path / "again")
    assert not any(path.name.startswith(".") for path in (tmp_path / "again").iterdir())
