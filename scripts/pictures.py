"""
Pictures of the dashboard for the documentation: ``python scripts/pictures.py``.

They show ``effectmq dashboard --demo`` after a while, always the same size, into docs/pictures.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.brokers.node import free_ports
from tests.browsers.finding import chromium

_PICTURES = Path(__file__).parents[1] / "docs/pictures"
_WIDTH, _HEIGHT = 1180, 660
_AS_WEBP = """async (png) => {
  const image = await createImageBitmap(await (await fetch(png)).blob());
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.85);
}"""
#: How long the demo lives before it is looked at, in seconds.
_LIFE_S = 45.0
_START_S = 30.0


def main() -> None:
    """Take all of them."""
    (port,) = free_ports(1)
    demo = subprocess.Popen(
        [
            *(sys.executable, "-m", "effectmq", "dashboard", "--demo", "--quiet"),
            *("--api-address", f"127.0.0.1:{port}"),
        ]
    )
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--force-color-profile=srgb"]
            )
            _take(browser, f"http://127.0.0.1:{port}")
            browser.close()
    finally:
        demo.terminate()
        demo.wait(20)


def _take(browser: Browser, url: str) -> None:
    page = browser.new_context(
        viewport={"width": _WIDTH, "height": _HEIGHT}, device_scale_factor=1
    ).new_page()
    _reach(page, url)
    time.sleep(_LIFE_S)
    _shoot(page, f"{url}/", "dashboard-overview")
    page.goto(f"{url}/dead-letters")
    page.locator("tbody input").first.check()
    _shoot(page, "", "dashboard-dead-letters")
    page.goto(f"{url}/effects?kind=exec_code&state=failed")
    page.locator("tbody a").first.click()
    page.locator("#page a[href^='/session?']").first.click()
    page.locator(".waterfall").wait_for()
    _shoot(page, "", "dashboard-session")
    page.emulate_media(color_scheme="dark")
    _shoot(page, f"{url}/effects", "dashboard-effects-dark")


def _reach(page: Page, url: str) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            page.goto(url)
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


def _shoot(page: Page, url: str, name: str) -> None:
    if url:
        page.goto(url)
    page.locator("body[data-live=yes]").wait_for()
    # Playwright writes PNG only; the browser itself makes it a third of that.
    taken = base64.b64encode(page.screenshot(scale="css")).decode()
    blank = page.context.new_page()
    written = blank.evaluate(_AS_WEBP, f"data:image/png;base64,{taken}")
    blank.close()
    (_PICTURES / f"{name}.webp").write_bytes(base64.b64decode(written.partition(",")[2]))


if __name__ == "__main__":
    main()
