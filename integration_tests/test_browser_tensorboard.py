"""What a person sees of a run: a real TensorBoard on the GAN example, in headless Chromium.

`nox -s browser` installs what is needed and runs this; elsewhere it is skipped. The screenshots are kept in the folder
that LT_BROWSER_SHOTS names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SHOTS = os.environ.get("LT_BROWSER_SHOTS")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

if SHOTS is None:
    pytest.skip("no browser is started here: run `nox -s browser`", allow_module_level=True)
if CHROMIUM is None or DRIVER is None:
    pytest.skip("chromium and chromedriver are not installed: `apt-get install chromium chromium-driver`",
                allow_module_level=True)  # fmt: skip

ROOT = Path(__file__).parent.parent
EPOCHS = 60
EVERY_SHADOW = """
const texts = [], images = [];
function visit(root) {
  for (const element of root.querySelectorAll("*")) {
    if (element.shadowRoot) visit(element.shadowRoot);
    if (element.tagName === "IMG") images.push([element.src, element.naturalWidth]);
    for (const node of element.childNodes) if (node.nodeType === 3 && node.data.trim()) texts.push(node.data.trim());
  }
}
visit(document);
return [texts, images];
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gan")
    command = [sys.executable, str(ROOT / "examples" / "gan.py"), "--max-epochs", str(EPOCHS), "--data-dir", "data"]
    subprocess.run(command, cwd=folder, check=True, timeout=600, capture_output=True)
    return folder / "lt_logs"


@pytest.fixture(scope="module")
def address(logs: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        lines: list[str] = []
        for line in server.stderr:
            lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            if found:
                break
        else:
            pytest.fail("".join(lines))
        threading.Thread(target=server.stderr.read, daemon=True).start()  # or the server stops at a full pipe
        yield found[0]
        server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def logged(logs: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(logs / "gan" / "version_0"), {"images": 0, "scalars": 0}).Reload()


def look(browser: Any, address: str, dashboard: str, ready: Callable[[list[str], list[Any]], bool]) -> Any:
    """Open a dashboard, wait until it shows what is expected, and take its picture."""
    browser.get("about:blank")
    browser.get(f"{address}#{dashboard}")
    until = time.monotonic() + 90
    while True:
        texts, images = browser.execute_script(EVERY_SHADOW)
        if ready(texts, images) or time.monotonic() > until:
            break
        time.sleep(0.5)
    time.sleep(2)  # charts are drawn in steps
    Path(str(SHOTS)).mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(Path(str(SHOTS), f"{dashboard}.png")))
    return browser.execute_script(EVERY_SHADOW)


def test_the_charts_show_the_last_values_that_were_logged(browser: Any, address: str, logs: Path) -> None:
    """Each chart has its name and, in its table, the last step and value."""
    events = logged(logs)
    last = events.Scalars("drawings/mean_grey")[-1]

    texts, _ = look(browser, address, "timeseries", lambda texts, _: f"{last.value:.4f}".rstrip("0") in texts)

    shown = " ".join(texts)
    assert all(name in shown for name in ("drawings", "mean_grey", "variety", "gan/version_0"))
    assert f"{last.value:.4f}".rstrip("0") in texts
    assert str(last.step) in texts


def test_the_picture_shown_is_the_last_grid_that_was_logged(browser: Any, address: str, logs: Path) -> None:
    """The image card is at the last epoch, and the browser has decoded a picture of the grid's width."""
    grid = logged(logs).Images("drawings/grid")[-1]

    texts, images = look(browser, address, "images", lambda _, images: any(width > 0 for _, width in images))

    assert any("drawings/grid" in text for text in texts)
    assert any(f"{grid.step:,}" == text.removeprefix("step ").strip() for text in texts), texts
    assert grid.width in [width for _, width in images]


def test_the_table_of_hyperparameters_shows_them_with_their_metric(browser: Any, address: str, logs: Path) -> None:
    """Names, values and the metric that runs are compared by stand in one row."""
    variety = logged(logs).Scalars("hp/variety")[-1].value

    texts, _ = look(browser, address, "hparams", lambda texts, _: "hp/variety" in texts)

    assert {"hidden_size", "latent_size", "lr", "hp/variety", "gan/version_0"} <= set(texts)
    numbers = [float(text) for text in texts if re.fullmatch(r"[\d.]+", text)]
    assert all(
        any(number == pytest.approx(value, rel=1e-3) for number in numbers) for value in (128, 32, 2e-3, variety)
    )
