"""Draw the pictures of the documentation from the report of a real run: ``python docs/pictures/draw.py RUN/report.html``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

# What is shown of the page, and how many pixels high it is at a width of 1,200.
PICTURES = {
    "report": ("header, #verdict, #fan", 2040),
    "volatility": ("#volatility", 1110),
    "skill": ("#skill", 1720),
    "calibration": ("#calibration", 1350),
    "data": ("#quality", 760),
    "features": ("#features", 560),
}
COLOURS = 64
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking",
           "--disable-component-update", "--hide-scrollbars", "--virtual-time-budget=8000")  # fmt: skip


def draw(browser: str, page: str, name: str, selector: str, height: int, folder: Path) -> Path:
    """One picture: the page with everything else hidden."""
    shown = ", ".join(f"body {one}" for one in selector.split(", "))
    style = f"<style>nav, header, section {{ display: none !important }} {shown} {{ display: block !important }}</style></head>"
    picture = folder / f"{name}.png"
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        file.write_text(page.replace("</head>", style, 1), encoding="utf-8")
        shots = (f"--user-data-dir={place}/profile", f"--window-size=1200,{height}", f"--screenshot={picture}", file.as_uri())
        subprocess.run([browser, *OPTIONS, *shots], check=True, capture_output=True, timeout=180)
    # flat colours and grey text: a palette loses nothing that can be seen and weighs a third
    Image.open(picture).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    return picture


def main() -> None:
    """Draw every picture, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="report.html of a run")
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"a browser is needed to draw pictures: install one of {', '.join(BROWSERS)}")
    page = given.report.read_text(encoding="utf-8")
    for name in given.names or PICTURES:
        picture = draw(browser, page, name, *PICTURES[name], given.out.resolve())
        print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
