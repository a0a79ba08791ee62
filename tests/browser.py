"""A headless Chromium, and `zdiffsync web` for it to look at. Rule: nothing of it goes to any network."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

COMMAND = Path(sys.executable).parent / "zdiffsync"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


@contextmanager
def chromium(home, *options, downloads=None):
    """Start one with a profile of its own below `home`; it saves files in `downloads`."""
    wanted = webdriver.ChromeOptions()
    wanted.binary_location = "/usr/bin/chromium"
    for option in (*OPTIONS, f"--user-data-dir={home}/profile", *options):
        wanted.add_argument(option)
    wanted.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if downloads is not None:
        wanted.add_experimental_option(
            "prefs", {"download.default_directory": str(downloads), "download.prompt_for_download": False}
        )
    driver = webdriver.Chrome(wanted, Service("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def web(config, *options):
    """Start `zdiffsync web`; gives the URL it prints. It must end cleanly with SIGTERM."""
    argv = [COMMAND, "-c", config, "web", *options]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        assert said.startswith("open http://127.0.0.1:"), said + process.stderr.read()
        yield said.removeprefix("open ").strip()
    finally:
        process.terminate()
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, "")
