import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from minorkey.errors import DataError, StorageError
from minorkey.reporting.figures import running_mean
from minorkey.reporting.page import build_report

VOID = {"meta", "img", "input", "link", "br", "hr"}


class Outline(HTMLParser):
    """Checks that tags nest, and keeps headings and addresses."""

    def __init__(self):
        super().__init__()
        self.stack, self.headings, self.addresses, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "deep" / "report.html"
    assert build_report(runs, out) == out
    return out


def outline(path):
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.stack == []
    return parser


def test_page_is_whole_and_in_order(page):
    assert outline(page).headings == [
        "SoMA, LoRA, Full fine-tuning and Frozen backbone, trained on clear",
        "What changed, and where",
        "What the models see",
        "Scores by domain",
        "Classes in unseen domains",
        "Training",
        "What to do next",
        "How it was measured",
    ]


@pytest.mark.parametrize(
    ("head", "source", "said"), [("builtin", "clear", True), ("null", "clear", False), ("builtin", "fog", False)]
)
def test_the_shipped_model_is_told_of_where_all_began_with_it(make_run, tmp_path, head, source, said):
    runs = [make_run("soma", 0.8), make_run("lora", 0.7)]
    for run, begun in zip(runs, ("builtin", head), strict=True):
        file = run / "config.yaml"
        settings = yaml.safe_load(file.read_text()) if file.is_file() else {}
        written = {**settings, "task": "segmentation", "head_from": begun if begun != "null" else None}
        file.write_text(yaml.safe_dump({**written, "source": [f"world:{source}"]}))
    page = build_report(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert ("without the minor eighth" in page) == said


def test_page_is_self_contained(page):
    parsed = outline(page)
    assert not {"link", "iframe"} & set(parsed.tags)
    assert parsed.tags.count("script") == 1
    assert not re.search(r"<script [^>]*src|fetch\(|import\(|XMLHttpRequest", page.read_text())
    assert parsed.tags.count("img") == 5 * 2 * (2 + 2 * 4)  # domains, scenes, image and truth, two per run
    assert all(address.startswith(("data:image/", "#")) for address in parsed.addresses)
    assert not re.findall(r"url\((?!#)", page.read_text())


def test_ids_of_the_two_figures_do_not_clash(page):
    ids = re.findall(r'<(?:clipPath|path|g)[^>]* id="(p[0-9a-f]{8,}|m[0-9a-f]{8,})"', page.read_text())
    assert ids
    assert len(ids) == len(set(ids))


def test_page_shows_scores_protocol_and_config(page):
    text = page.read_text(encoding="utf-8")
    assert "In unseen domains, SoMA is " in text
    assert "native size; whole image, or training crops where it is over 16 of them; last weights" in text
    assert "Configuration of soma-0" in text
    assert "320 k" in text
    assert "nan" not in re.sub(r"data:image/[^\"]*", "", text).lower().replace("nano", "")


def test_figures_are_also_files(page):
    for name in ("scores", "curves"):
        with Image.open(page.parent / "figures" / f"{name}.png") as picture:
            assert picture.width > 700
        assert "currentColor" not in (page.parent / "figures" / f"{name}.svg").read_text()


def test_same_runs_give_the_same_page(runs, page, tmp_path):
    again = build_report(runs, tmp_path / "report.html")
    assert again.read_bytes() == page.read_bytes()


def test_metrics_alone_are_enough(make_run, tmp_path):
    folder = make_run("soma", 0.9, images=2)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif path.name != "metrics.json":
            path.unlink()
    parsed = outline(build_report([folder], tmp_path / "r.html"))
    assert "What the models see" not in parsed.headings
    assert "img" not in parsed.tags


def test_title_is_escaped(runs, tmp_path):
    text = build_report(runs[:1], tmp_path / "r.html", title="<b>bold</b>").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt;" in text


def test_another_protocol_stands_beside_the_others_with_a_mark(runs, make_run, tmp_path):
    text = build_report([*runs, make_run("pissa", 1.0, resize=512)], tmp_path / "r.html").read_text()
    assert "PiSSA<sup>†</sup>" in text
    assert "† Not comparable with the other rows" in text
    assert text.count("<dt>Protocol ") == 2


def test_half_a_line_at_the_end_of_the_log_is_left_out(make_run, tmp_path):
    folder = make_run("soma", 0.9, images=1)
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 300, "lo')
    assert build_report([folder], tmp_path / "r.html").is_file()


def test_running_mean_by_hand():
    assert np.allclose(running_mean(np.array([0.0, 3.0, 6.0, 0.0]), 1), [1.5, 3, 3, 3])


def test_error_texts(runs, make_run, tmp_path):
    with pytest.raises(DataError, match="no run folder given"):
        build_report([], tmp_path / "r.html")
    with pytest.raises(DataError, match=r"no run folder .*nowhere"):
        build_report([tmp_path / "nowhere"], tmp_path / "r.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no metrics\.json in .*empty") as caught:
        build_report([runs[0], tmp_path / "empty"], tmp_path / "r.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r.html").exists()


def test_broken_files_are_named(make_run, tmp_path):
    folder = make_run("soma", 0.9, images=1)
    (folder / "log.jsonl").write_text("step 1\n")
    with pytest.raises(DataError, match=r"not one JSON record per line: .*log\.jsonl: line"):
        build_report([folder], tmp_path / "r.html")
    (folder / "log.jsonl").unlink()
    (folder / "confusions.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"cannot read .*confusions\.safetensors.*run `minorkey evaluate` again"):
        build_report([folder], tmp_path / "r.html")


def test_a_page_that_cannot_be_written_is_said(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        build_report(runs[:1], tmp_path / "file" / "report.html")


def test_the_slider_offers_every_run_and_domain(page):
    text = page.read_text(encoding="utf-8")
    chosen = re.findall(r'<option value="\d+"([^>]*)>([^<]+)</option>', text)
    names = ["SoMA", "LoRA", "Full fine-tuning", "Frozen backbone"]
    assert [name for _, name in chosen] == [*("clear", "dusk", "night", "fog", "rain"), *names, *names]
    assert [name for selected, name in chosen if selected] == ["Full fine-tuning", "SoMA"]
    assert text.count('<div class="first">') == 5
    assert re.search(r'<input type="range"[^>]* aria-label="', text)
    assert '<div class="wipe" hidden>' in text, "shown by the script alone; the rows below need none"


def test_one_run_has_no_slider(runs, tmp_path):
    text = build_report(runs[:1], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "What changed, and where" not in text


def test_what_to_do_next_names_the_run(page, runs):
    text = page.read_text(encoding="utf-8")
    assert f"<pre>minorkey predict {runs[0]} PHOTOS --out predicted</pre>" in text
    assert f"minorkey train {runs[0] / 'config.yaml'} seed=1 --out {runs[0]}-seed1" in text


def test_figures_can_be_read_on_a_phone(page):
    """Their letters are at least 8 px high on 330 px, what a page of 390 leaves them."""
    for svg in re.findall(r'<figure class="plot">(<svg.*?</svg>)', page.read_text(encoding="utf-8"), re.DOTALL):
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
        assert sizes
        assert min(sizes) * 330 / width >= 8
