"""`mirror view`: tiles are the slide's pixels, layers lie on them, the server answers this machine alone."""

from __future__ import annotations

import http.client
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirror.core.errors import InputError
from mirror.interpretation.geojson import write_map
from mirror.io.slide_maps import SlideMap
from mirror.simulation.render import write_slide
from mirror.study.__main__ import main
from mirror.viewer.command import find_entries
from mirror.viewer.layers import read_layers
from mirror.viewer.pyramid import Pyramid
from mirror.viewer.server import Entry, Viewer, make_server
from rules import ROOT

WIDTH, HEIGHT = 1000, 600


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide whose corners have four colours."""
    image = np.full((HEIGHT, WIDTH, 3), 230, np.uint8)
    image[:300, :500], image[:300, 500:] = (200, 30, 30), (30, 200, 30)
    image[300:, :500] = (30, 30, 200)
    path = tmp_path_factory.mktemp("slides") / "s1.svs"
    write_slide(path, image, 0.5)
    return path


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "s1.geojson"
    drawn = SlideMap(
        np.array([[0, 0], [500, 0], [0, 300]]),
        256.0,
        np.array([0.7, 0.2, 0.1], np.float32),
        np.zeros((3, 2), np.float32),
        np.array([1, 0, -1]),
    )
    write_map(path, "s1", drawn, ["3", "11"])
    return path


def test_tiles_are_the_slides_pixels(slide: Path) -> None:
    pyramid = Pyramid(slide)
    assert (pyramid.last, pyramid.mpp(), pyramid.mpp(0.25)) == (2, 0.5, 0.25)
    whole = pyramid.tile(0, 0, 0).astype(int)  # 1000 x 600 in 256 px: a quarter of the size
    for (x, y), colour in {(60, 30): (200, 30, 30), (190, 30): (30, 200, 30), (60, 110): (30, 30, 200)}.items():
        assert np.abs(whole[y, x] - colour).max() < 20
    assert (whole[200:] == 255).all(), "white below the slide"
    at_full = pyramid.tile(2, 3, 1)  # from 768, 256: 232 x 256 of it are the slide's
    assert (at_full[:, 240:] == 255).all() and np.abs(at_full[10, 100].astype(int) - (30, 200, 30)).max() < 20
    for wrong in [(3, 0, 0), (-1, 0, 0), (2, 4, 0), (2, 0, 3)]:
        with pytest.raises(InputError, match="there is no tile"):
            pyramid.tile(*wrong)
    pyramid.close()


def test_layers_are_what_the_interpretation_wrote(layer: Path, tmp_path: Path) -> None:
    found = read_layers(layer, "v")
    assert found.left.tolist() == [0, 500, 0] and found.top.tolist() == [0, 0, 300] and set(found.size) == {256.0}
    assert found.attention.argmax() == 0 and found.prototype == ["11", "3", "other"]
    for text in ("", "{}", '{"features": [{"geometry": {"coordinates": [[[0, 0]]]}, "properties": {}}]}'):
        other = tmp_path / "x.geojson"
        other.write_text(text)
        with pytest.raises(InputError, match="no tiles with attention"):
            read_layers(other, "v")


@pytest.fixture(scope="module")
def port(slide: Path, layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A running server with three slides: a good one with a layer, a broken one, one called after a script."""
    broken = tmp_path_factory.mktemp("broken") / "b.svs"
    broken.write_bytes(slide.read_bytes()[:3000])
    entries = [Entry("A", "s1", "p1", slide, {"enc / cv / v": layer}), Entry("A", "b", "p2", broken),
               Entry("A", "<script>x</script>", "p3", slide)]  # fmt: skip
    with make_server(Viewer(entries), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def get(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_server_answers(port: int) -> None:
    status, index = get(port, "/")
    assert status == 200 and b"<script>" not in index and b"&lt;script&gt;" in index and b"enc / cv / v" in index
    status, tile = get(port, "/tile/0/1/0/0.jpg")
    picture = np.asarray(Image.open(io.BytesIO(tile)))
    assert (
        status == 200
        and picture.shape == (256, 256, 3)
        and np.abs(picture[50, 50].astype(int) - (200, 30, 30)).max() < 25
    )
    status, page = get(port, "/slide/0")
    assert status == 200 and b"/tile/0/{Z}/{X}/{Y}.jpg" in page
    assert b"<script>x" not in get(port, "/slide/2")[1]


@pytest.mark.parametrize("path", ["/tile/0/9/0/0.jpg", "/tile/7/0/0/0.jpg", "/slide/7", "/../../etc/passwd", "/x",
                                  "/slide/1", "/tile/1/0/0/0.jpg"])  # fmt: skip
def test_what_is_not_there_is_404(port: int, path: str) -> None:
    status, body = get(port, path)
    assert status == 404 and b"Traceback" not in body and body


def test_other_machines_pages_are_refused(port: int) -> None:
    assert get(port, "/", host="evil.example:80")[0] == 403
    assert get(port, "/", host=f"localhost:{port}")[0] == 200


def test_a_taken_port_is_one_line(port: int) -> None:
    with pytest.raises(InputError, match="--port"):
        make_server(Viewer([]), port)


def study(folder: Path, slide: str) -> Path:
    """A configuration with one slide."""
    (folder / "samples.tsv").write_text(f"slide_id\tpatient_id\tslide_path\ns1\tp1\t{slide}\n")
    (folder / "c.yaml").write_text(
        f"results: {folder}/results\nencoders: [efficientnet-lite0]\n"
        f"cohorts: {{A: {{samples: {folder}/samples.tsv}}}}\n"
    )
    return folder / "c.yaml"


def test_slides_and_maps_of_a_study_are_found(tmp_path: Path, slide: Path, layer: Path, capsys) -> None:
    config = study(tmp_path, str(slide))
    place = tmp_path / "results/interpretation/A/enc/cv/mirror/geojson"
    place.mkdir(parents=True)
    shutil.copy(layer, place / "s1.geojson")
    (entry,) = find_entries(config, None, ROOT)
    assert (entry.cohort, entry.slide, entry.path) == ("A", "s1", slide)
    assert entry.maps == {"A / enc / cv / mirror": place / "s1.geojson"}
    (moved,) = find_entries(config, tmp_path / "other", ROOT)
    assert moved.maps == {}
    assert main(["view", str(config), "--slide", "s9", "--no-browser"]) == 1
    assert "there is no slide `s9`" in capsys.readouterr().err


def test_slides_that_are_not_here_are_one_line(tmp_path: Path, capsys) -> None:
    assert main(["view", str(study(tmp_path, "nowhere/s1.svs")), "--no-browser"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("mirror view: ") and "no slide of this study is on this machine" in said
    assert main(["view", str(tmp_path / "missing.yaml"), "--no-browser"]) == 1


CHECK = """<script>
setTimeout(() => {
  const doc = Bokeh.documents[0], select = doc.get_model_by_name("layer"), out = {options: select.options};
  select.value = select.options[1];
  setTimeout(() => {
    const shown = [...doc._all_models.values()].filter(m => m.type === "GlyphRenderer" && m.visible);
    out.shown = shown.length;
    document.body.setAttribute("data-out", JSON.stringify(out));
  }, 500);
}, 2500);
</script>"""


def test_a_layer_is_shown_in_a_browser(port: int, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium: `apt-get install chromium` to open the viewer in a browser")
    head, _, tail = get(port, "/slide/0")[1].decode().rpartition("</body>")
    page = tmp_path / "page.html"
    page.write_text(f"{head}{CHECK}</body>{tail}".replace("/tile/0/", f"http://127.0.0.1:{port}/tile/0/"))
    shot = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--window-size=1200,800",
               "--virtual-time-budget=12000", f"--user-data-dir={tmp_path}/profile"]  # fmt: skip
    done = subprocess.run([browser, *options, f"--screenshot={shot}", "--dump-dom", page.as_uri()],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    found = done.stdout.rpartition('data-out="')[2].partition('"')[0].replace("&quot;", '"')
    assert '"shown":1' in found and "attention, enc / cv / v" in found, done.stderr[-2000:]
