"""The board in headless Chromium: sort, filter, curves on click, hostile names, the policy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from entries import declare_endpoints, edit_entry, make_entry

from benchmark.board.build import build
from benchmark.board.opened import open_entry
from benchmark.board.records import (
    LEVELS,
    Record,
    Reevaluated,
    Reproduced,
    Rescored,
    append_record,
    records_path,
)

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two entries, one of them named like a script."""
    folder = tmp_path_factory.mktemp("board")
    make_entry(folder, "toy", seeds=6)
    make_entry(folder, "evil", seeds=6, lead=3, first=20)

    def name_it(entry: dict[str, Any]) -> None:
        entry["title"] = SCRIPT
        entry["arms"][1]["label"] = SCRIPT
        entry["provenance"]["hardware"] = f'"><img src="https://example.org/x.png">{SCRIPT}'

    edit_entry(folder / "entries" / "evil", name_it)
    for name in ("toy", "evil"):  # a level that no run reaches at its first look, so that arms have a speed
        declare_endpoints(folder / "entries" / name, levels={"sums1": [0.12]})
    page = folder / "index.html"
    page.write_text(build(folder / "entries")["index.html"])
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, board: Path) -> Iterator[Any]:
    """The open page; whatever it complained about, asked for or popped up fails the test."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    tab, trouble = context.new_page(), []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda asked: trouble.append(asked.url) if asked.url != board.as_uri() else None)
    tab.goto(board.as_uri())
    yield tab
    context.close()
    assert [one for one in trouble if one != "data:,"] == []


def algorithms(page: Any) -> list[str]:
    return list(page.locator("tbody:visible .open").all_inner_texts())


def test_the_page_opens_with_every_row_and_no_detail(page: Any) -> None:
    assert len(algorithms(page)) == 4
    assert page.locator("tr.detail:visible").count() == 0
    assert page.locator("#status").inner_text() == "4 of 4 rows shown"
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_name_that_is_a_script_is_a_name(page: Any) -> None:
    assert SCRIPT in algorithms(page)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def test_sorting(page: Any) -> None:
    if page.viewport_size["width"] < 700:
        page.select_option("#order", "final descending")
        values = page.locator('tbody [data-column="final"]').evaluate_all(
            "all => all.map(x => +x.dataset.sort)"
        )
        assert values == sorted(values, reverse=True)
        return
    head = page.locator('th[data-column="steps"]')
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator("th[aria-sort]").count() == 1
    values = page.locator('tbody [data-column="steps"]').evaluate_all("all => all.map(x => +x.dataset.sort)")
    assert values == sorted(values)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    after = page.locator('tbody [data-column="steps"]').evaluate_all("all => all.map(x => +x.dataset.sort)")
    assert after == sorted(values, reverse=True)
    assert page.locator("#status").inner_text() == "sorted by steps to top level, descending"


def test_missing_values_stand_last_both_ways(page: Any) -> None:
    for direction in ("ascending", "descending"):
        page.select_option("#order", "speed descending", force=True)
        if direction == "ascending" and page.viewport_size["width"] > 700:
            page.locator('th[data-column="speed"] button').click()
        values = page.locator('tbody [data-column="speed"]').evaluate_all(
            "all => all.map(x => x.dataset.sort)"
        )
        assert values[2:] == ["", ""]
        assert "" not in values[:2]


def test_filtering(page: Any) -> None:
    page.fill("#search", "toy lambda")
    assert algorithms(page) == ["lambda_grpo"]
    assert page.locator("#status").inner_text() == "1 of 4 rows shown"
    page.fill("#search", "nobody")
    assert algorithms(page) == []
    page.fill("#search", "")
    page.select_option("#level", "1")
    assert algorithms(page) == []
    page.select_option("#level", "")
    assert len(algorithms(page)) == 4


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One entry at each level, named for it."""
    folder = tmp_path_factory.mktemp("levels")
    findings: list[Any] = [
        None,
        Rescored(grader_version="2", rows=18),
        Reevaluated(
            engine="vllm", units=1, items=80, identical=1.0, difference=0.0, margin=0.03, p_equivalent=None
        ),
        Reproduced(reproduction="x", content="0" * 64, reproduced_by="Ann", margin=0.03, largest_p=0.01),
    ]
    for at, (level, finding) in enumerate(zip(LEVELS, findings, strict=True)):
        one = make_entry(folder, level, seeds=6, first=20 * at)  # runs of their own
        if finding:
            record = Record(entry=open_entry(one).digest, by="us", finding=finding)
            append_record(records_path(folder / "entries", level), record)
    page = folder / "index.html"
    page.write_text(build(folder / "entries")["index.html"])
    return page


def test_each_level_shows_the_entries_that_have_it_or_a_higher_one(levels: Path, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto(levels.as_uri())
    for at, level in enumerate(LEVELS):
        tab.select_option("#level", label=level if at else "any level")
        shown = set(tab.locator("tbody:visible .who .mono").all_inner_texts())
        assert shown == set(LEVELS[at:]), level
    tab.close()


def test_a_curve_opens_on_click_and_by_keyboard(page: Any) -> None:
    button = page.locator(".open").first
    detail = page.locator("#" + button.get_attribute("aria-controls"))
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert detail.locator("svg").is_visible()
    assert detail.locator("svg .seed").count() == 6
    assert detail.locator("svg .band").count() == 1
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "false"
    assert not detail.is_visible()
    page.locator("#everything").click()
    assert page.locator("tr.detail:visible").count() == 4


def test_the_policy_holds(board: Path, browser: Any, tmp_path: Path) -> None:
    """What the template never writes is put there by hand: a script, a style, an image, a handler."""
    image = "<img src='https://example.org/x.png' onerror='document.title=1'>"
    attack = (
        f"<script>document.title = 'taken'</script>{image}"
        "<style>body { display: none }</style><p id='p' style='color: red'>x</p>"
    )
    attacked = tmp_path / "attacked.html"
    attacked.write_text(board.read_text().replace("</main>", attack + "</main>"))
    tab, refused, asked = browser.new_page(), [], []
    tab.on("console", lambda message: refused.append(message.text))
    tab.on("requestfinished", lambda request: asked.append(request.url))
    tab.goto(attacked.as_uri())
    assert tab.title().startswith("Leaderboard")
    assert tab.locator("h1").is_visible()
    assert tab.evaluate("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"
    assert [url for url in asked if url.startswith("http")] == []
    assert sum("Content Security Policy" in text for text in refused) >= 4
    tab.close()


def test_every_control_has_a_name_and_the_table_its_roles(page: Any) -> None:
    assert page.locator("button").evaluate_all("all => all.every(x => x.textContent.trim() !== '')")
    labelled = "all => all.every(x => x.labels.length > 0)"
    assert page.locator("input, select").evaluate_all(labelled)
    assert page.locator("table.board").get_by_role("row").count() >= 5
    assert page.locator("table.board caption").count() == page.locator("table.board").count()


def test_without_a_script_everything_is_there(browser: Any, board: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(board.as_uri())
    assert tab.locator("tr.detail:visible").count() == 4
    assert tab.locator(".tools").is_hidden()
    context.close()
