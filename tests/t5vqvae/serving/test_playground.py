"""The playground in a real browser: what it shows is what the model says, and its addresses are links."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from served import SENTENCES, Spelled, answers, ask, serving
from spelling_model import CODE

CHROMIUM = shutil.which("chromium")
ABSENT = CHROMIUM is None and os.environ.get("CI") != "true"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ABSENT, reason="chromium is missing: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(Spelled(), page=True) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "chromium is not installed, and with CI=true it must be"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[1100, 390])
def page(browser: Any, request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    """An empty page of a desktop's or a phone's width; it may ask nobody but the server, and throw no error."""
    opened = browser.new_page(viewport={"width": request.param, "height": 800})
    asked, faults = [], []
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.set_default_timeout(15_000)
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= request.param, "the page scrolls sideways"
    opened.close()
    assert faults == [] and all(each.startswith((url, "data:")) for each in asked)


def tokens(page: Any) -> list[str]:
    return [" ".join(text.split()) for text in page.locator("#codes .tokens button").all_inner_texts()]


def settled(page: Any) -> None:
    page.wait_for_function("document.querySelector('#status').textContent === ''")


def marks(page: Any, box: str) -> list[str]:
    return page.locator(f"{box} mark").all_inner_texts()


def test_a_code_is_swapped_the_sentence_changes_and_the_link_shows_it_again(page: Any, browser: Any, url: str) -> None:
    page.goto(url)
    page.get_by_label("Sentence").first.fill("a bat eats honey")
    page.get_by_role("button", name="Encode").click()
    page.wait_for_selector("#codes .decoded:not(:empty)")
    [own] = answers(f"{url}/encode", {"texts": ["a bat eats honey"]})
    expected = [f"{token or 'end'} {code}" for token, [code] in zip(own["tokens"], own["codes"], strict=True)]
    assert tokens(page) == expected
    assert page.inner_text("#codes .decoded") == "a bat eats honey" and marks(page, "#codes .decoded") == []
    page.locator("#codes .tokens button").nth(1).click()
    page.wait_for_selector("#codes .nearest tbody tr")
    [found] = answers(f"{url}/traverse", {"text": "a bat eats honey", "position": 1, "nearest": 12})
    rows = [row.split("\t") for row in page.locator("#codes .nearest tbody tr").all_inner_texts()]
    assert [(int(code), float(far), text) for code, far, text, _ in rows] == [
        (each["code"], each["distance"], each["text"]) for each in found["swaps"]
    ]
    page.get_by_role("button", name=f"Put code {CODE['cat']} in its place").click()
    page.wait_for_function("document.querySelector('#codes .decoded').textContent === 'a cat eats honey'")
    settled(page)
    assert tokens(page)[1] == f"bat {CODE['cat']}" and marks(page, "#codes .decoded") == ["cat"]
    other = browser.new_page()
    other.goto(page.url)
    other.wait_for_function("document.querySelector('#codes .decoded').textContent === 'a cat eats honey'")
    settled(other)
    assert tokens(other) == tokens(page)
    other.close()
    page.get_by_role("button", name="Put the sentence's own codes back").click()
    page.wait_for_function("document.querySelector('#codes .decoded').textContent === 'a bat eats honey'")
    page.go_back()
    page.wait_for_function("document.querySelector('#codes .decoded').textContent === 'a cat eats honey'")


def test_the_keyboard_is_enough(page: Any, url: str) -> None:
    page.goto(f"{url}/#view=codes&text=a+bat")
    page.wait_for_selector("#codes .tokens button")
    settled(page)
    page.locator("#codes .tokens button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#codes .nearest tbody tr")
    settled(page)
    assert page.evaluate("document.activeElement.dataset.position") == "1"
    for _ in range(10):
        page.keyboard.press("Tab")
        if "Put code" in (page.evaluate("document.activeElement.getAttribute('aria-label')") or ""):
            break
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#codes .tokens button.swapped")
    assert tokens(page)[1] == f"bat {label.split()[2]}"


def test_the_walk_shows_every_step_of_the_model(page: Any, url: str) -> None:
    page.goto(f"{url}/#view=walk")
    page.get_by_label("From", exact=True).fill("a bat")
    page.get_by_label("To", exact=True).fill("big dog")
    page.get_by_label("Steps").fill("4")
    page.get_by_label("through the codebook").check()
    page.get_by_role("button", name="Walk").click()
    page.wait_for_selector("#walk tbody tr")
    [path] = answers(f"{url}/interpolate", {"source": "a bat", "goal": "big dog", "steps": 4, "walk": True})
    rows = [row.split("\t") for row in page.locator("#walk tbody tr").all_inner_texts()]
    assert rows == [[f"{step['t']:.2f}", step["text"]] for step in path["steps"]]
    changed = [step["text"].split()[place] for step in path["steps"] for place in step["changed"]]
    assert marks(page, "#walk") == changed and "dog" in changed


def test_a_splice_is_shown_next_to_the_sentence_and_its_error_in_words(page: Any, url: str) -> None:
    page.goto(f"{url}/#view=splice&text=a+bat+eats+honey&donor=old+dog&words=old+dog&how=replace&place=bat")
    page.wait_for_selector("#splice .spliced")
    assert page.inner_text("#splice .plain") == "a bat eats honey"
    assert page.inner_text("#splice .spliced") == "a old dog eats honey" and marks(page, "#splice") == ["old", "dog"]
    page.locator("#splice [name=words]").fill("cat")
    page.get_by_role("button", name="Splice").click()
    page.wait_for_selector("#status.error")
    assert page.inner_text("#status") == "'cat' is not in 'old dog'; give words as the sentence has them"
    assert page.locator("#splice .result").is_hidden(), "it is of other words"
    page.locator("#splice [name=words]").fill("old")
    page.get_by_role("button", name="Splice").click()
    settled(page)
    assert page.inner_text("#splice .spliced") == "a old eats honey"


def test_codes_of_a_version_that_is_served_no_more_are_left_out(browser: Any) -> None:
    source, page = Spelled(), browser.new_page()
    with serving(source, page=True, refresh_seconds=0.05) as moving:
        page.goto(f"{moving}/#view=codes&text=a+bat&position=1")
        page.get_by_role("button", name=f"Put code {CODE['cat']} in its place").click()
        page.wait_for_selector("#codes .tokens button.swapped")
        settled(page)
        assert page.inner_text("#model") == "spelling, version 1" and "version=1" in page.url
        source.version = "2"
        while ask(f"{moving}/health")[1]["model"]["version"] != "2":
            time.sleep(0.02)
        page.locator("#codes .tokens button").first.click()
        page.wait_for_function("document.querySelector('#status').textContent.includes('version 1; shown')")
        assert page.inner_text("#model") == "spelling, version 2"
        assert tokens(page) == [f"a {CODE['a']}", f"bat {CODE['bat']}", "end 1"]
        assert page.inner_text("#codes .nearest h2").startswith("Nearest codes of \u201ca\u201d")
        page.locator("#codes .tokens button").nth(1).click()
        settled(page)
        assert "codes=" not in page.url
        page.close()


def test_the_page_of_a_code_has_its_numbers_and_contexts(page: Any, url: str) -> None:
    page.goto(f"{url}/#view=code")
    page.wait_for_selector("#code tbody tr")
    listed = ask(f"{url}/codes")[1]["codes"]
    first = page.locator("#code tbody tr").first.inner_text().split("\t")
    assert first[:3] == [str(listed[0]["code"]), str(listed[0]["count"]), f"{listed[0]['purity']:.3f}"]
    page.locator("#code tbody a", has_text="4").first.click()
    page.wait_for_selector("#code .contexts li")
    use = ask(f"{url}/codes/4")[1]["use"]
    assert page.inner_text("#code h2") == "Code 4"
    assert page.inner_text("#code .use").startswith(f"{use['count']} times in 3 sentences; purity {use['purity']:.3f},")
    assert page.locator("#code li").all_inner_texts() == [f"{SENTENCES[0]} open", f"{SENTENCES[2]} open"]
    assert marks(page, "#code .contexts") == ["bat", "bat", "bat"]
    page.get_by_role("link", name="open").first.click()
    page.wait_for_selector("#codes .nearest tbody tr")
    assert page.get_by_label("Sentence").first.input_value() == SENTENCES[0]


def test_a_server_with_a_token_asks_for_it_once(page: Any, browser: Any) -> None:
    with serving(Spelled(), page=True, token="secret") as locked:
        own = browser.new_page()
        own.goto(f"{locked}/#view=codes&text=a+bat")
        own.get_by_label("Token of this server").fill("secret")
        own.get_by_role("button", name="Use it").click()
        own.wait_for_function("document.querySelector('#codes .decoded').textContent === 'a bat'")
        assert own.locator("#unlock").is_hidden()
        own.close()


def test_the_first_row_of_a_walk_is_compared_with_the_sentence_and_says_so(page: Any, url: str) -> None:
    page.goto(f"{url}/#view=walk&source=a+fox&goal=a+bat&steps=2")
    page.wait_for_selector("#walk tbody tr")
    assert "in the first row since the given sentence" in page.inner_text("#walk thead")
    assert "dropped words are not marked" in page.inner_text("footer")


def _shows_codes(page: Any, url: str, path: str, found: dict[str, Any]) -> None:
    """Opens a page of codes whose numbers are given."""
    found["model"] = {"name": "spelling", "version": "1"}
    page.route(f"{url}/codes*{'/*' if '/' in path else ''}", lambda route: route.fulfill(json=found))
    page.goto(f"{url}/#view=code{'&code=5' if '/' in path else ''}")
    page.wait_for_selector("#code p")


def _use(code: int) -> dict[str, Any]:
    return {"code": code, "count": 3, "purity": 1.0, "shuffled": 0.5, "words": [["a", 3]]}


def test_a_long_list_of_codes_says_how_many_it_shows(page: Any, url: str) -> None:
    _shows_codes(page, url, "codes", {"sentences": 9, "entries": 512, "codes": [_use(code) for code in range(223)]})
    assert page.locator("#code tbody tr").count() == 100
    told = "223 of 512 codes stand in 9 sentences; the 100 most frequent are below"
    assert page.inner_text("#code p").startswith(told)


def test_a_character_of_several_pieces_is_shown_once(page: Any, url: str) -> None:
    context = {"text": "caf\u00e9 ok", "positions": [3, 4], "spans": [[3, 4], [3, 4]]}
    found = {"sentences": 9, "entries": 512, "use": _use(5), "contexts": [context]}
    _shows_codes(page, url, "codes/5", found)
    assert page.locator("#code li").all_inner_texts() == ["caf\u00e9 ok open"]
    assert marks(page, "#code .contexts") == ["\u00e9"]


def test_the_operations_fit_a_phone(page: Any, url: str) -> None:
    page.goto(f"{url}/docs")
    page.wait_for_selector("table")
    assert "POST /interpolate" in page.inner_text("body")  # the width is checked when the test ends
    assert "`" not in page.inner_text("body")
    one_line = "cell => cell.getClientRects().length === 1"
    names = page.locator("td:first-child code")
    assert names.count() > 10 and all(each.evaluate(one_line) for each in names.all()), "a name is broken"


def test_the_link_to_the_operations_needs_no_token(browser: Any) -> None:
    with serving(Spelled(), page=True, token="secret") as locked:
        own = browser.new_page()
        own.goto(locked)
        own.get_by_role("link", name="Operations of this server").click()
        own.get_by_role("link", name="openapi.json").click()
        assert '"/interpolate"' in own.inner_text("body")
        own.close()
