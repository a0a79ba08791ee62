"""The web page as a person uses it, in a real Chromium."""

import time
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from browser import chromium, web
from mounted_world import expected_path
from web_world import HOSTILE


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(tmp_path_factory, downloads):
    with chromium(tmp_path_factory.mktemp("chromium"), downloads=downloads) as driver:
        yield driver


@pytest.fixture(scope="module")
def address(world):
    with web(world.config) as address:
        yield address


@pytest.fixture(autouse=True)
def without_complaints(driver):
    """No error, and nothing that the page's own policy forbids, in any test."""
    yield
    assert driver.get_log("browser") == []


def links(driver, text):
    return driver.find_elements(By.LINK_TEXT, text)


def follow(driver, text):
    links(driver, text)[0].click()


def saved(downloads, name):
    """The bytes of a download, once it is there."""
    end = time.monotonic() + 60
    while not (downloads / name).exists():
        assert time.monotonic() < end, sorted(downloads.iterdir())
        time.sleep(0.05)
    return (downloads / name).read_bytes()


def test_from_the_overview_to_a_downloaded_version(driver, address, world, downloads):
    driver.get(address)
    assert driver.current_url == f"http://{urlsplit(address).netloc}/"  # the token is gone from it
    follow(driver, "tank/data")
    assert len(driver.find_elements(By.CSS_SELECTOR, ".chart .bar")) >= 1
    assert len(driver.find_elements(By.CSS_SELECTOR, ".calendar a")) >= 1
    rows = driver.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert [row.find_element(By.TAG_NAME, "code").text for row in rows] == [
        key[:8] for key in world.points[::-1]
    ]
    rows[-1].find_element(By.TAG_NAME, "a").click()
    follow(driver, "docs")
    assert links(driver, "plan.txt")
    driver.find_element(By.PARTIAL_LINK_TEXT, "newer").click()  # the same directory, one point later
    assert not links(driver, "plan.txt")
    follow(driver, "letter.txt")
    events = driver.find_elements(By.CSS_SELECTOR, ".events li")
    assert [event.find_element(By.TAG_NAME, "b").text for event in events] == [
        "content",
        "in the first point",
    ]
    events[1].find_element(By.PARTIAL_LINK_TEXT, "Download").click()
    assert saved(downloads, "letter.txt") == (expected_path(world, 0) / "docs/letter.txt").read_bytes()


def test_a_deleted_file_is_found(driver, address, downloads):
    driver.get(address)
    driver.find_element(By.CSS_SELECTOR, ".top input").send_keys("PLAN", Keys.ENTER)
    whole = "return location.pathname === '/search' && document.readyState === 'complete'"
    WebDriverWait(driver, 30).until(lambda driver: driver.execute_script(whole))
    (row,) = driver.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert "docs/plan.txt" in row.text
    assert "gone" in row.text
    row.find_element(By.CSS_SELECTOR, ".acts a").click()
    assert saved(downloads, "plan.txt") == b"a plan\n"
    follow(driver, "docs/plan.txt")
    assert [each.text for each in driver.find_elements(By.CSS_SELECTOR, ".events b")] == [
        "removed",
        "in the first point",
    ]


def test_hostile_names_and_pages_do_nothing(driver, address, world, downloads):
    driver.get(address)
    follow(driver, "Browse")
    follow(driver, "odd")
    names = [each.text for each in driver.find_elements(By.CSS_SELECTOR, ".name a")]
    assert len(names) == len(HOSTILE)
    assert {"<img src=x onerror=alert(1)>.txt", "two\\nlines", "latin-\\xe9\\xff", "\\u202egnp.exe"} <= set(
        names
    )
    for name in names:
        follow(driver, name)
        assert driver.find_element(By.TAG_NAME, "h1").text == name
        assert len(driver.find_elements(By.CSS_SELECTOR, ".events li")) == 1
        driver.back()
    driver.get(
        f"{driver.current_url.partition('/browse')[0]}/file?point={world.points[0]}&path=docs/page.html"
    )
    assert saved(downloads, "page.html") == (expected_path(world, 0) / "docs/page.html").read_bytes()
    assert driver.title != "run"
    assert (
        driver.execute_script("return document.querySelectorAll('script, [onload], [onerror]').length") == 0
    )


def test_what_changed_between_two_points(driver, address):
    driver.get(address)
    follow(driver, "tank/data")
    links(driver, "what changed")[1].click()
    rows = [row.text.splitlines()[0] for row in driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert rows == ["docs/letter.txt changed +6 B", "docs/plan.txt removed \N{MINUS SIGN}7 B"]


def test_on_a_phone_nothing_is_wider_than_the_screen(driver, address, world):
    driver.set_window_size(390, 800)
    driver.get(address)
    for page in ("/", "/dataset?name=tank/data", f"/browse?point={world.points[2]}&path=odd", "/search?q=*"):
        driver.get(f"http://{urlsplit(address).netloc}{page}")
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
