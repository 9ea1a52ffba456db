"""Takes pictures of the console's pages for the documentation: small, in both themes.

    python -m tests.console.screenshots [FOLDER]

It needs what the tests of the browser need, and Pillow, which makes the pictures small. The
folder is docs/images unless another is named. Look at each of them afterwards.
"""

from __future__ import annotations

import io
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.console.browser.driving import PERSON, chromium, log_in, running

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
_PAGES = {
    "overview": "/",
    "live": "/live",
    "person": f"/persons/{PERSON}",
    "events": "/events",
    "messages": "/messages",
    "jobs": "/jobs",
    "users": "/users",
}
_SIZE = {"width": 1280, "height": 800}
_COLOURS = 64


def main(folder: Path) -> None:
    """Writes the pictures."""
    images: Any = import_module("PIL.Image")  # Pillow is no dependency of the tests
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as place,
        chromium() as browser,
        running(Path(place)) as console,
    ):
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, viewport=_SIZE)
            tab = context.new_page()
            log_in(tab, console.url)
            for name, path in _PAGES.items():
                tab.goto(f"{console.url}{path}")
                if name == "overview":
                    tab.wait_for_selector("canvas")
                image = images.open(io.BytesIO(tab.screenshot()))
                file = folder / f"console-{name}-{scheme}.png"
                image.convert("RGB").quantize(_COLOURS).save(file, optimize=True)
                sys.stdout.write(f"{file}: {file.stat().st_size // 1000} kB\n")
            context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else _IMAGES)
