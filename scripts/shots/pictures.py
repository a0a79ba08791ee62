"""Takes the pictures: pages of `zdiffsync web`, and terminals with what nights.py had printed.

Rule: what is seen is what the program gives; only the terminal around its output is drawn here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import escape
from io import BytesIO, StringIO
from pathlib import Path
from urllib.parse import quote, urlsplit

from PIL import Image
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from nights import name_remote

from browser import COMMAND, chromium, web

WIDTH = 1080
SCALE = 1.5
COLOURS = 256
THEME = TerminalTheme(
    (22, 27, 34), (225, 230, 236),
    [(72, 79, 88), (255, 123, 114), (86, 211, 134), (227, 179, 65), (121, 192, 255), (210, 168, 255),
     (86, 212, 221), (225, 230, 236)],
)  # fmt: skip
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 28px; background: #eef1f5; display: inline-block; }}
div {{ background: #161b22; border-radius: 12px; overflow: hidden;
       box-shadow: 0 12px 32px rgb(16 24 40 / 28%); }}
p {{ margin: 0; padding: 12px 16px; background: #21262d; font: 600 13px Inter, sans-serif; color: #8b949e;
     display: flex; align-items: center; gap: 8px; }}
i {{ width: 12px; height: 12px; border-radius: 50%; background: #484f58; }}
b {{ margin: 0 auto; padding-right: 52px; font-weight: 600; }}
pre {{ margin: 0; padding: 18px 22px 22px; font: 13.5px/1.5 "JetBrains Mono", monospace; color: #e1e6ec;
       font-variant-ligatures: none; }}
em {{ font-style: normal; font-weight: 700; color: #fff; }}
</style><div><p><i></i><i></i><i></i><b>{title}</b></p><pre>{body}</pre></div>"""


@dataclass(frozen=True)
class Page:
    """One page: its address, and how much of it is shown, in CSS pixels."""

    name: str
    address: str
    height: int
    width: int = WIDTH
    dark: bool = False


def pages(config: Path) -> list[Page]:
    """Return what is shown of the repository of nights.py."""
    done = subprocess.run(
        (COMMAND, "-c", config, "--json", "points", "tank/home"), check=True, capture_output=True, text=True
    )
    point = json.loads(done.stdout)["points"][-3]["point"]
    folder = quote("anna/Documents/2026")
    thesis = f"/versions?dataset=tank/home&path={folder}/thesis.odt"
    return [
        Page("overview", "/", 560),
        Page("dataset", "/dataset?name=tank/home", 900),
        Page("browse", f"/browse?point={point}&path={folder}", 620),
        Page("versions", thesis, 520),
        Page("search", "/search?q=ben/*budget*", 560),
        Page("phone", "/dataset?name=tank/home", 844, 390, dark=True),
    ]


def take(driver: Chrome, page: Page, target: Path) -> None:
    """Photograph one page; the token is known by now."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": page.width,
            "height": page.height,
            "deviceScaleFactor": SCALE,
            "mobile": page.width < WIDTH,
        },
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if page.dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(page.address)
    save(driver.get_screenshot_as_png(), target)


def terminal(driver: Chrome, said: Path, target: Path) -> None:
    """Draw a terminal around what a command printed."""
    title, _, text = said.read_text().replace("\r", "").partition("\n")
    text = text.partition("\nKeep this on paper")[0]  # the recovery sheet would be half of the picture
    command, _, text = text.partition("\n")
    body = [f"<em>{escape(command)}</em>"]
    console = Console(record=True, width=400, file=StringIO(), force_terminal=True)
    for line in text.rstrip().splitlines():
        console.print(Text.from_ansi(line), end="", soft_wrap=True)
        body.append(console.export_html(theme=THEME, inline_styles=True, code_format="{code}"))
    with tempfile.NamedTemporaryFile("w", suffix=".html") as file:
        file.write(TERMINAL.format(title=escape(title), body="\n".join(body)))
        file.flush()
        driver.get(f"file://{file.name}")
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 1400, "height": 1400, "deviceScaleFactor": SCALE, "mobile": False},
        )
        save(driver.find_element(By.TAG_NAME, "body").screenshot_as_png, target)


def save(png: bytes, target: Path) -> None:
    """Write a picture with few colours: these have few."""
    picture = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(target, optimize=True)
    sys.stdout.write(f"{target.name}: {target.stat().st_size // 1000} kB\n")


def main(home: Path, docs: Path) -> None:
    """Take all pictures of what lies in `home`."""
    name_remote(home)
    with tempfile.TemporaryDirectory() as scratch, chromium(scratch, "--hide-scrollbars") as driver:
        with web(home / "config.toml", "--no-local") as address:
            driver.get(address)
            origin = f"http://{urlsplit(address).netloc}"
            for page in pages(home / "config.toml"):
                at = Page(page.name, origin + page.address, page.height, page.width, page.dark)
                take(driver, at, docs / f"web-{page.name}.png")
        for said in sorted(home.glob("*.ansi")):
            terminal(driver, said, docs / f"shot-{said.stem}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
