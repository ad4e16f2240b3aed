"""The rendering, as numbers and in a real browser."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.volume_rendering import LONGEST_SIDE, volume_rendering, write_volume_rendering
from braindiffusion.volume import Volume

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A bright ball in the dark, in voxels."""
    grid = np.indices(shape) - np.asarray(centre).reshape(3, 1, 1, 1)
    return (np.sqrt((grid**2).sum(axis=0)) <= radius).astype(np.float32)[None]


def centre_of_mass(trace: object) -> np.ndarray:
    points = np.stack([trace.x, trace.y, trace.z])  # type: ignore[attr-defined]
    return (points * trace.value).sum(axis=1) / trace.value.sum()  # type: ignore[attr-defined]


@pytest.mark.parametrize("shape", [(40, 48, 44), (160, 128, 140)], ids=["small", "averaged down"])
def test_it_stands_where_the_volume_is_in_millimetres(shape: tuple[int, int, int]) -> None:
    centre = (20.0, 30.0, 25.0)
    affine = np.diag([1.5, 2.0, 1.0, 1.0])
    affine[:3, 3] = (-30.0, 10.0, 5.0)
    cloud = volume_rendering(Volume(ball(shape, centre, 10), affine)).data[0]
    expected = (affine @ [*centre, 1])[:3]
    np.testing.assert_allclose(centre_of_mass(cloud), expected, atol=1.0)
    assert np.ptp(cloud.x[cloud.value > 0.5]) == pytest.approx(20 * 1.5, abs=4)


def test_a_large_volume_is_averaged_to_what_a_browser_bears() -> None:
    shape = (160, 208, 176)
    cloud = volume_rendering(Volume(ball(shape, (80, 104, 88), 78), np.eye(4))).data[0]
    sides = [len(np.unique(along)) for along in (cloud.x, cloud.y, cloud.z)]
    assert max(sides) <= LONGEST_SIDE
    inside = (np.stack([cloud.x, cloud.y, cloud.z]) - [[80], [104], [88]]) ** 2
    assert cloud.value[np.sqrt(inside.sum(axis=0)) < 70].min() == pytest.approx(1)


def test_slices_show_every_voxel_and_lie_in_the_middle() -> None:
    data = np.random.default_rng(0).random((1, 20, 22, 24), dtype=np.float32) + 1
    data[0, 0, 0, 0] = 0
    _, _, sagittal, coronal, axial = volume_rendering(Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))).data
    assert np.unique(sagittal.x).tolist() == [20.0]
    assert np.unique(coronal.y).tolist() == [22.0]
    assert np.unique(axial.z).tolist() == [24.0]
    high = np.percentile(data[data > 0], 99.5)
    np.testing.assert_allclose(axial.surfacecolor, np.clip(data[0, :, :, 12] / high, 0, 1), rtol=1e-5)


def test_one_hot_voxel_does_not_dim_the_rest() -> None:
    data = ball((40, 40, 40), (20, 20, 20), 12)
    data[0, 20, 20, 20] = 1000
    cloud = volume_rendering(Volume(data, np.eye(4))).data[0]
    assert np.median(cloud.value[cloud.value > 0]) == pytest.approx(1)


def test_nothing_to_see_and_no_such_channel_are_told() -> None:
    with pytest.raises(BrainDiffusionError, match="same value"):
        volume_rendering(Volume(np.ones((1, 4, 4, 4)), np.eye(4)))
    with pytest.raises(BrainDiffusionError, match="no channel 1"):
        volume_rendering(Volume(ball((9, 9, 9), (4, 4, 4), 2), np.eye(4)), channel=1)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrainDiffusionError, match="cannot be written"):
        write_volume_rendering(Volume(ball((9, 9, 9), (4, 4, 4), 2), np.eye(4)), tmp_path / "file" / "a.html")


def test_in_a_browser_without_network(tmp_path: Path) -> None:
    """Chromium opens the page: no error in its console, all traces are there, and something bright is drawn."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: none of chromium, chromium-browser, google-chrome is on the path")
    shape = (80, 104, 88)
    page = write_volume_rendering(
        Volume(ball(shape, (40, 52, 44), 35), np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "page.html", title="A <ball>"
    )
    assert page.stat().st_size < 15e6
    html = page.read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", html)  # nothing is fetched
    # The page's errors, and Plotly's own account once it has drawn, are left in the document for --dump-dom.
    listen = """<head><script>
    const root = document.documentElement;
    const fail = text => root.setAttribute("data-errors", (root.getAttribute("data-errors") || "") + text);
    window.addEventListener("error", event => fail(event.message));
    console.error = (...words) => fail(words.join(" "));
    </script>"""
    tell = """<script>
    const plot = document.querySelector(".js-plotly-plot");
    const tell = () => root.setAttribute("data-traces", plot._fullData.map(one => one.type).join());
    plot._fullData ? tell() : plot.on("plotly_afterplot", tell);
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(html.replace("<head>", listen, 1).replace("</body>", tell, 1))
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-sync",
            "--enable-unsafe-swiftshader",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=600,600",
            "--virtual-time-budget=10000",
            "--dump-dom",
            f"--screenshot={picture}",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    attributes = re.search(r"<html[^>]*>", done.stdout)
    assert attributes is not None
    assert attributes[0] == '<html data-traces="volume,mesh3d,surface,surface,surface">'
    from PIL import Image

    drawn = np.asarray(Image.open(picture).convert("L")).astype(float)
    middle = drawn[200:400, 200:400]
    assert middle.mean() > drawn[:, :20].mean() + 40  # a bright ball on a dark ground
