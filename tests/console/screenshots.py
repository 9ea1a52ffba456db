"""Takes pictures of the console's pages for the documentation: small, in both themes.

    python -m tests.console.screenshots [FOLDER]

It needs what the tests of the browser need, and Pillow, which makes the pictures small. The
folder is docs/images unless another is named. Look at each of them afterwards.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from receiver.events import utc_now
from tests.console import scene
from tests.console.browser.driving import PERSON, chromium, log_in, running
from tests.harness import inbound

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
#: By the name of the picture; what begins with a dot is a link on the page before it.
_PAGES = {
    "overview": "/",
    "live": "/live",
    "events": "/events?type=sms.message.received",
    "event": "./events/",
    "messages": "/messages",
    "message": "./messages/",
    "campaigns": "/campaigns",
    "campaign": "./campaigns/",
    "person": f"/persons/{PERSON}",
    "unknown-person": "/persons/+254799000000",
    "subscribers": "/subscribers",
    "history": "/subscribers/history",
    "growth": "/subscribers/growth",
    "keywords": "/keywords",
    "explain": "/explain?text=game+on&to=22915&source=tilil",
    "preview": "/keywords/preview?since=30d",
    "opt-outs": "/opt-outs",
    "near-misses": "/opt-outs/near-misses",
    "delivery": "/delivery",
    "jobs": "/jobs",
    "job": "./jobs/",
    "forwards": "/forwards",
    "quarantine": "/quarantine",
    "reports": "/reports",
    "audit": "/audit",
    "users": "/users",
    "tokens": "/tokens",
    "log": "/users/log",
}
_SIZE = {"width": 1280, "height": 800}
_COLOURS = 64


def main(folder: Path) -> None:
    """Writes the pictures."""
    images: Any = import_module("PIL.Image")  # Pillow is no dependency of the tests
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(scene.fill(Path(place), utc_now()))
        _take(images, Path(place), folder)


def _take(images: Any, place: Path, folder: Path) -> None:
    with (
        chromium() as browser,
        running(place) as console,
    ):
        # What is asked about most: somebody who may have meant STOP, and what could not be read.
        console.service.post(inbound("near", "please stop this", mobile=f"{PERSON[1:-1]}3"))
        console.service.post(b'{"mobile": "254726770')
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, viewport=_SIZE)
            tab = context.new_page()
            tab.goto(f"{console.url}/login")
            _save(images, tab, folder / f"console-login-{scheme}.png")
            log_in(tab, console.url)
            for name, path in _PAGES.items():
                if path.startswith("."):
                    tab.locator(f"main a[href^='{path[1:]}']").first.click()
                else:
                    tab.goto(f"{console.url}{path}")
                if tab.locator("figure.plot").count():
                    tab.wait_for_selector("canvas")
                _save(images, tab, folder / f"console-{name}-{scheme}.png")
            context.close()


def _save(images: Any, tab: Any, file: Path) -> None:
    image = images.open(io.BytesIO(tab.screenshot()))
    image.convert("RGB").quantize(_COLOURS).save(file, optimize=True)
    sys.stdout.write(f"{file}: {file.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else _IMAGES)
