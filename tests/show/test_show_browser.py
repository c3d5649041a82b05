"""The page in a real browser, without a window."""

import pytest
from browser import BROWSER, browser
from test_show_stage import SCENE, encoded

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

IDLE = "document.querySelector('article') && !document.body.classList.contains('busy')"
TEXT = "document.body.innerText"
PICTURES = "[...document.images].filter((image) => image.complete && image.naturalWidth).length"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def choose(page, name: str, value: object) -> None:
    page.run(
        f"(() => {{ const it = document.getElementById('{name}'); it.value = '{value}';"
        " it.dispatchEvent(new Event('input')); })()"
    )


def test_it_begins_with_an_example_and_the_weather_turns(page, server, other_run):
    page.open(server.address)
    page.wait(f"{IDLE} && {PICTURES} === 4")
    assert str(other_run) in page.run(TEXT)
    assert page.run("document.getElementById('severity').disabled")
    assert "clean image" not in page.run(TEXT)
    choose(page, "corruption", "night")
    choose(page, "severity", 5)
    page.wait(f"{IDLE} && {TEXT}.includes('night, severity 5')")
    assert page.run(f"{TEXT}.match(/prediction of the clean image: [0-9.]+ % of the pixels differ/g).length") == 2
    choose(page, "corruption", "")
    page.wait(f"{IDLE} && {TEXT}.includes('as it is') && !{TEXT}.includes('clean image')")


def test_an_address_may_end_in_a_corruption(page, server):
    page.open("about:blank")
    page.open(f"{server.address}#fog@4")
    page.wait(f"{IDLE} && {TEXT}.includes('fog, severity 4')")
    page.open("about:blank")
    page.open(f"{server.address}#nothing@9")
    page.wait(f"{IDLE} && {TEXT}.includes('as it is')")


def test_another_example(page, server):
    page.open(server.address)
    page.wait(f"{IDLE} && {TEXT}.includes('drawn scene 1')")
    page.run("document.getElementById('next').click()")
    page.wait(f"{IDLE} && {TEXT}.includes('drawn scene 2')")


def test_an_image_is_dropped_and_what_is_none_is_said(page, server):
    drop = """(content, name) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(content)], name));
        dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));
    }"""
    page.open(server.address)
    page.wait(IDLE)
    page.run(f"({drop})({list(encoded(SCENE))}, 'scene.png')")
    page.wait(f"{IDLE} && {TEXT}.includes('your image, 64 × 32 pixels')")
    page.run(f"({drop})([60, 98, 62], 'page.html')")
    page.wait(f"{IDLE} && document.querySelector('.status.failed')?.textContent.startsWith('the image: broken image')")


def test_the_camera_goes_on_until_it_is_stopped(page, server):
    page.open(server.address)
    page.wait(IDLE)
    page.run("document.getElementById('camera').click()")
    page.wait(f"{TEXT}.includes('camera, ')")
    page.run("window.asked = 0; const whole = fetch; window.fetch = (...all) => { asked++; return whole(...all); }; 0")
    page.wait("asked > 2")
    page.run("document.getElementById('camera').click()")
    page.wait(IDLE)
    assert page.run("document.getElementById('camera').getAttribute('aria-pressed')") == "false"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_wide_and_narrow_windows(width, dark, page, server, tmp_path):
    page.open(server.address, width, 800, dark)
    page.wait(f"{IDLE} && {PICTURES} === 4")
    assert page.run("document.documentElement.scrollWidth") <= width
    page.picture(tmp_path / "page.png")
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(20, 24, 29)" if dark else "rgb(251, 251, 249)")


def test_nothing_was_asked_of_anyone_else_and_nothing_went_wrong(page, server):
    page.open(server.address)
    page.wait(IDLE)
    refused = "status of 400"  # of the page that was dropped as an image
    assert [problem for problem in page.problems if refused not in problem] == []
    asked = [address for address in page.requests if not address.startswith(("data:", "blob:", "about:"))]
    assert asked
    assert [address for address in asked if not address.startswith(server.address)] == []
