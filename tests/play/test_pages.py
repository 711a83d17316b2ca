"""Web pages that play a file: what ``tvvc web`` writes, how modules are put together, and ``tvvc view``'s server."""

from __future__ import annotations

import base64
import http.client
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import DATA
from players import running_player

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.play import modules, pages
from taichi_vvc.play.pages import ELEMENT, PAGE, WORKER, first_view, read_poster, single_page, write_folder
from taichi_vvc.play.server import PlayerServer

GOLDEN = DATA / "golden_v4.tvvc"
SIZE = GOLDEN.stat().st_size


# ---- modules


def with_sources(monkeypatch, **sources: str) -> None:
    """Puts modules of these names and texts in the place of the package's."""
    monkeypatch.setattr(modules, "source", lambda name: sources[name.removesuffix(".js").replace("/", "_")])


def test_all_that_a_page_imports_is_found() -> None:
    order = modules.modules_of(PAGE, WORKER)
    assert {"player/element.js", "renderer/renderer.js", "decoder/decoder.js"} < set(order)
    assert order.index("renderer/plan.js") < order.index("renderer/pack.js") < order.index(WORKER)
    assert ELEMENT in modules.modules_of(ELEMENT)
    web = Path(pages.__file__).parent.parent / "web"
    assert all((web / name).is_file() for name in order)


def test_modules_become_one_script(monkeypatch) -> None:
    with_sources(
        monkeypatch,
        a="""/** Doc. */
import { one, two as second } from "./b/c.js";
import * as all from "./b/d.js";
import "./e.js";
export const sum = one + second + all.three;
""",
        b_c="export const one = 1;\nexport function two() {}\nexport { hidden as shown };\nconst hidden = 5;\n",
        b_d='export * from "./c.js";\nexport { one as first } from "./c.js";\nexport const [three, four] = [3, 4];\n',
        e="  // a comment\nsideEffect();\n",
    )
    script = modules.bundle("a.js")
    assert "import" not in script and "export" not in script and "/** Doc" not in script
    assert "const { one, two: second } = $m0;" in script and "const all = $m1;" in script
    assert "return { one, two, shown: hidden };" in script
    assert "return { ...$m0, first: $m0.one, three, four };" in script
    assert script.index("sideEffect()") < script.index("const sum")
    assert modules.modules_of("a.js", instead={"e.js": "b/d.js"}) == ["b/c.js", "b/d.js", "a.js"]


@pytest.mark.parametrize(
    "line", ["export let changing = 1;", "export default 3;", "const here = import.meta.url;", 'import x from "./y.js"']
)
def test_what_cannot_be_put_together_is_refused(monkeypatch, line: str) -> None:
    with_sources(monkeypatch, a=line + "\n")
    with pytest.raises(ConfigError, match=r"a\.js: expected imports and exports"):
        modules.bundle("a.js")


def test_modules_that_import_each_other_are_refused(monkeypatch) -> None:
    with_sources(monkeypatch, a='import "./b.js";\n', b='import "./a.js";\n')
    with pytest.raises(ConfigError, match=r"a\.js -> b\.js -> a\.js"):
        modules.bundle("a.js")


# ---- pages


def test_a_folder_holds_all_that_a_server_needs(tmp_path: Path) -> None:
    file = tmp_path / "my scene & #1.tvvc"
    shutil.copy(GOLDEN, file)
    poster = pages.Poster(b"\xff\xd8picture", ".jpg")
    written = write_folder(tmp_path / "site", file, "A <b> & {{scripts}}", "cam02", poster)
    assert sorted(written) == sorted(path for path in (tmp_path / "site").rglob("*") if path.is_file())
    assert (tmp_path / "site" / file.name).read_bytes() == GOLDEN.read_bytes()
    text = (tmp_path / "site" / "index.html").read_text()
    assert "<title>A &lt;b&gt; &amp; {{scripts}}</title>" in text
    assert 'src="my%20scene%20%26%20%231.tvvc"' in text
    assert (
        'poster="poster.jpg"' in text
        and 'camera="cam02"' in text
        and "http" not in text.replace("http.server", "").replace("http://localhost:8000", "")
    )
    module = re.search(r'<script type="module" src="([^"]+)"', text)
    assert module and (tmp_path / "site" / module.group(1)).is_file()
    # Once more into the same folder, from the file that lies there.
    assert write_folder(tmp_path / "site", tmp_path / "site" / file.name, "again")
    assert (tmp_path / "site" / file.name).read_bytes() == GOLDEN.read_bytes()


def test_one_page_holds_everything() -> None:
    text = single_page(GOLDEN.read_bytes(), "Scene")
    stream = re.search(r'id="scene">([^<]*)</script>', text)
    assert stream and base64.b64decode(stream.group(1)) == GOLDEN.read_bytes()
    # No script ends early, and nothing comes from elsewhere.
    assert text.count("</script") == text.count("<script") == 3
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)


def test_what_web_refuses(tmp_path: Path, capfd) -> None:
    page = str(tmp_path / "a.html")
    assert run(["web", str(GOLDEN), "-o", page, "--camera", "nobody", "--poster", "none"]) == 3
    assert "cam00" in capfd.readouterr().err
    (tmp_path / "a.gif").write_bytes(b"GIF")
    assert run(["web", str(GOLDEN), "-o", page, "--poster", str(tmp_path / "a.gif")]) == 3
    assert run(["web", str(GOLDEN), "-o", page, "--poster", str(tmp_path / "none.png")]) == 3
    assert not (tmp_path / "a.html").exists()
    assert run(["web", str(GOLDEN), "-o", page, "--poster", "none"]) == 0
    assert run(["web", str(GOLDEN), "-o", page, "--poster", "none"]) == 2
    assert run(["web", str(GOLDEN), "-o", str(tmp_path), "--poster", "none"]) == 2
    assert run(["web", str(tmp_path / "a.gif"), "-o", str(tmp_path / "b.html"), "--poster", "none"]) == 4


def test_posters_and_first_views(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(b"\x89PNG")
    assert read_poster(tmp_path / "a.PNG").address == "data:image/png;base64,iVBORw=="
    with tv.open(GOLDEN) as stream:
        own, view = stream.cameras[2], first_view(stream, "cam02")
        assert max(view.width, view.height) == 640 and view.k1 == 0
        assert view.fy / view.height == pytest.approx(own.fy / own.height)
        with pytest.raises(DataError, match="cam05, found cam9"):
            first_view(stream, "cam9")


# ---- the server


@pytest.fixture(scope="module")
def server() -> Iterator[PlayerServer]:
    with PlayerServer(GOLDEN, "127.0.0.1", 0, "A & b", "cam01") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: PlayerServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_it_serves_the_page_and_its_modules_only(server: PlayerServer) -> None:
    status, headers, page = ask(server, "/?x=1")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b'camera="cam01"' in page
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"] and "A &amp; b" in page.decode()
    for name in modules.modules_of(PAGE, WORKER):
        status, headers, text = ask(server, f"/tvvc/{name}")
        assert status == 200 and headers["Content-Type"].startswith("text/javascript") and text
    for path in (
        "/tvvc/player/nothing.js",
        "/tvvc/../cli/view.py",
        "/..%2f..%2fsetup.cfg",
        f"/{GOLDEN}",
        "/etc/passwd",
    ):
        assert ask(server, path)[0] == 404
    assert ask(server, "/", "POST")[0] == 501


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=100-", (100, SIZE)),
        ("bytes=-20", (SIZE - 20, SIZE)),
        (f"bytes=5-{SIZE + 99}", (5, SIZE)),
        (f"bytes=-{2 * SIZE}", (0, SIZE)),
    ],
)
def test_parts_of_the_file(server: PlayerServer, asked: str, part: tuple[int, int]) -> None:
    begin, end = part
    status, headers, body = ask(server, "/scene.tvvc", Range=asked)
    assert status == 206 and body == GOLDEN.read_bytes()[begin:end]
    assert headers["Content-Range"] == f"bytes {begin}-{end - 1}/{SIZE}"
    status, headers, body = ask(server, "/scene.tvvc", "HEAD", Range=asked)
    assert status == 206 and int(headers["Content-Length"]) == end - begin and body == b""


@pytest.mark.parametrize("asked", [None, "bytes=9-3", "bytes=-", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b"])
def test_what_is_no_part_is_the_whole(server: PlayerServer, asked: str | None) -> None:
    status, headers, body = ask(server, "/scene.tvvc", **({"Range": asked} if asked else {}))
    assert status == 200 and body == GOLDEN.read_bytes() and headers["Accept-Ranges"] == "bytes"


def test_parts_beyond_the_end(server: PlayerServer) -> None:
    for asked in (f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"):
        status, headers, _ = ask(server, "/scene.tvvc", Range=asked)
        assert status == 416 and headers["Content-Range"] == f"bytes */{SIZE}"


def test_other_sites_are_refused(server: PlayerServer) -> None:
    own = f"127.0.0.1:{server.port}"
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{server.port}"},
        {"Host": own, "Origin": "http://evil.example"},
        {"Host": own, "Origin": "null"},
    ):
        for path in ("/", "/scene.tvvc"):
            status, _, body = ask(server, path, **headers)
            assert status == 403 and b"TVVC" not in body
    assert ask(server, "/scene.tvvc", Host=own, Origin=f"http://{own}")[0] == 200
    assert ask(server, "/", Host=f"localhost:{server.port}")[0] == 200


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with PlayerServer(GOLDEN, "127.0.0.1", port, "a") as other:
            assert port < other.port <= port + 9
    with pytest.raises(DataError, match="expected an address to listen on"):
        PlayerServer(GOLDEN, "203.0.113.7", 8080, "a")


def test_view_serves_until_ctrl_c() -> None:
    with running_player(GOLDEN, "--no-open", "--camera", "cam03") as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        connection.request("GET", "/")
        assert b'camera="cam03"' in connection.getresponse().read()
        connection.close()
