"""A real browser, started once for all figures, without a network."""

import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from braindiffusion.figures.page import write_figure
from braindiffusion.volume import Volume

SECONDS = 30


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A bright ball in the dark, in voxels."""
    grid = np.indices(shape) - np.asarray(centre).reshape(3, 1, 1, 1)
    return (np.sqrt((grid**2).sum(axis=0)) <= radius).astype(np.float32)[None]


@pytest.fixture(scope="session")
def brain() -> Volume:
    """A ball of 20 x 24 x 22 mm that grows brighter to the right, to the front and upwards: no two slices are alike."""
    shape = (20, 24, 22)
    rising = sum(np.indices(shape)) / 200 + 0.5
    return Volume((ball(shape, (10, 12, 11), 8)[0] * rising)[None].astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


class Browser:
    """Chromium with a figure in it."""

    def __init__(self, driver: "object") -> None:
        self.driver = driver

    def run(self, script: str) -> object:
        """The value of a script's `return`; `plot` is the figure."""
        return self.driver.execute_script(f"const plot = document.querySelector('.js-plotly-plot'); {script}")

    def wait(self, script: str) -> None:
        """Until an expression is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, SECONDS, 0.05).until(lambda _: self.run(f"return {script}"), script)

    def open(self, figure: go.Figure, path: Path) -> None:
        """Write a figure, see that it asks for nothing from outside, open it and wait until it is drawn."""
        page = write_figure(figure, path)
        assert page.stat().st_size < 15e6
        assert not re.search(r"<(script|link)[^>]+(src|href)=", page.read_text())
        self.driver.get(page.as_uri())
        self.wait("plot && plot._fullLayout && plot._fullData.length && document.querySelector('#tip')")
        self.check()

    def check(self) -> None:
        """No error in the console, and something bright on the dark page."""
        assert [line for line in self.driver.get_log("browser") if line["level"] == "SEVERE"] == []
        seen = self.pixels()
        assert seen.std() > 3
        assert np.percentile(seen, 99) > 80

    def pixels(self) -> np.ndarray:
        """A screenshot, grey."""
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("L")).astype(float)

    def press(self, label: str) -> None:
        """Click on the button with this label."""
        from selenium.webdriver.common.by import By

        buttons = self.driver.find_elements(By.CSS_SELECTOR, ".updatemenu-button")
        next(button for button in buttons if button.text == label).click()

    def slide(self, slider: int, share: float) -> None:
        """Drag a slider's grip to a share of its length, with the mouse."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        group = self.driver.find_elements(By.CSS_SELECTOR, ".slider-group")[slider]
        grip = group.find_element(By.CSS_SELECTOR, ".slider-grip-rect")
        rail = group.find_element(By.CSS_SELECTOR, ".slider-rail-touch-rect").rect
        to = rail["x"] + share * rail["width"] - (grip.rect["x"] + grip.rect["width"] / 2)
        ActionChains(self.driver, 50).click_and_hold(grip).move_by_offset(round(to), 0).release().perform()

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window, in pixels."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        mouse = ActionBuilder(self.driver, duration=50)
        mouse.pointer_action.move_to_location(round(x) - 6, round(y) - 6)
        mouse.pointer_action.move_to_location(round(x), round(y))
        mouse.perform()

    def drag(self, x: float, y: float, by: int) -> None:
        """Drag the mouse to the right from a place in the window."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        mouse = ActionBuilder(self.driver, duration=50)
        pointer = mouse.pointer_action
        pointer.move_to_location(round(x), round(y)).pointer_down()
        pointer.move_to_location(round(x) + by // 2, round(y)).move_to_location(round(x) + by, round(y)).pointer_up()
        mouse.perform()


@pytest.fixture(scope="session")
def chromium(browser_path: str) -> Iterator[Browser]:
    """The browser itself."""
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("needs a chromedriver on the path")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser_path
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-sync",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=720,480",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield Browser(chrome)
    chrome.quit()


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Callable[[go.Figure], Browser]:
    """Open a figure in the browser."""

    def open_in_browser(figure: go.Figure) -> Browser:
        chromium.open(figure, tmp_path / "page.html")
        return chromium

    return open_in_browser
