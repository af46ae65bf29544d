"""The report as `launch.report` writes it, looked at in a browser."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies.report import _COLOURS
from launch import assembly, options, report
from tests.command_line import defined, outcome_of
from tests.conftest import ROOT
from tests.made_up import evaluation, probe

AWKWARD = '<b>run & "two"'
LONG = "begun_" + "with_a_name_that_is_long" * 4
PHONE, DESKTOP = 380, 1280

CHANGED = {"network": "mlp", "width": 0.05, "latent_dim": 12, "epochs": 3, "eval_images": 30}
SECTIONS = ["Runs", "A moving image", "Reconstructions", "Nearest neighbours", "Figure 1", "Samples"]
SECTIONS += ["Latent traversals", "Evaluation", "Training curves", "Invariance", "Configuration"]


def begin(folder, epochs, **terms):
    """Writes the files of a run that has come so far; its weights are those it began with."""
    with defined(options.define_training):
        of_run = options.resolve(CHANGED | {"output_dir": str(folder)})
    data, run = assembly.load_data(of_run), Run(folder)
    run.begin(assembly.config(of_run, data))
    lines = [{"epoch": e, "seconds": 1.0} | terms for e in range(1, epochs + 1)]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return of_run, data, run


def evaluate_as(run, rate, **changed):
    """Makes an evaluation up, with this rate and of the configuration with these changes."""
    config = run.read_config() | changed
    files.write_json(run.config, config)
    files.write_json(run.evaluation, evaluation(100.0, 0.5, config, rate=rate) | {"probe": probe(0.5)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs, the second with a name that must be escaped, and one that has just begun."""
    folder = tmp_path_factory.mktemp("runs")
    of_run, data, run = begin(folder / "cr_vae", 3, loss=300.0, bound=-300.0, val_bound=-310.0)
    assembly.export(of_run, assembly.make_model(of_run, data), data, run)
    shutil.copytree(run.directory, folder / AWKWARD)
    evaluate_as(run, rate=10.0)
    evaluate_as(Run(folder / AWKWARD), rate=1000.0, eta=0.0)
    begin(folder / LONG, 1, loss=200.0)
    point = {"kl": 1.0, "retrieval_at_1": 0.5, "linear": 0.9, "nearest_neighbours": 0.8}
    points = [point | {"size": size} for size in (0, 1)]
    files.write_json(run.invariance, dict.fromkeys(("translation", "rotation", "scaling"), points))
    return [folder / name for name in ("cr_vae", AWKWARD, LONG)]


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    """The page on these runs, and what was said while it was written."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    arguments = [f"--runs={','.join(map(str, runs))}", f"--output={page}"]
    outcome = outcome_of(report.main, report.define, *arguments)
    assert outcome.code == 0, outcome
    return page, outcome.err


def test_the_command_says_what_runs_lack(written):
    line = next(line for line in written[1].splitlines() if line.startswith("begun_"))
    assert line.endswith(": unfinished, 1 of 3 epochs; no evaluation.json; no encoder; no decoder")


def test_the_page_refers_to_nothing_outside_itself(written):
    text = written[0].read_text(encoding="utf-8")
    references = re.findall(r"""\b(?:src|href|action|data|srcset|poster)\s*=\s*["']([^"']*)""", text)
    assert len(references) > 20
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert not re.findall(r"url\(|@import|https?://", text)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no browser: install Debian's chromium and chromium-driver")
    selenium = pytest.importorskip("selenium.webdriver", reason="no selenium: install the extra test")
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(shutil.which("chromedriver"))
    driver = selenium.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser, written):
    def open_page(width=DESKTOP, scheme="light"):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(written[0].as_uri())
        return browser

    return open_page


def test_the_page_loads_in_silence_and_fetches_nothing(open_page):
    page = open_page()
    assert page.get_log("browser") == []
    fetched = evaluate(page, "performance.getEntriesByType('resource').map((e) => e.name)")
    assert {url.split(":")[0] for url in fetched} <= {"data"}


def evaluate(page, expression, *arguments):
    """Returns what an expression of JavaScript gives; `all(selector)` is a list of elements."""
    prelude = "const all = (selector) => [...document.querySelectorAll(selector)];"
    return page.execute_script(f"{prelude} return {expression}", *arguments)


def test_every_section_is_there_and_is_linked_to(open_page):
    page = open_page()
    headings = evaluate(page, "all('h2').map((h) => h.textContent)")
    assert headings == SECTIONS
    targets = evaluate(page, "all('nav a').map((a) => document.querySelector(a.hash).textContent)")
    assert targets == headings
    ids = evaluate(page, "all('[id]').map((e) => e.id)")
    assert len(ids) == len(set(ids))
    labels = evaluate(page, "all('[aria-labelledby]').map((e) => e.getAttribute('aria-labelledby'))")
    assert set(labels) <= set(ids)


def test_all_pictures_decode_and_say_what_they_show(open_page):
    page = open_page()
    pictures = evaluate(page, "[...document.images].map((i) => [i.complete && i.naturalWidth, i.alt])")
    # Of two runs: a moving image 2, a plane, reconstructions 2, samples 1, traversals 8, neighbours 2;
    # of all of them two terms, and four figures of merit under three transformations.
    assert len(pictures) == 2 * (2 + 1 + 2 + 1 + 8 + 2) + 2 + 4 * 3
    assert all(width > 0 and alt for width, alt in pictures)


def test_names_are_shown_as_they_are(open_page, runs):
    page = open_page()
    names = evaluate(page, "all('.legend .run').map((r) => r.lastChild.textContent.trim())")
    assert names == [run.name for run in runs]
    assert AWKWARD in page.title
    assert evaluate(page, "all('b:not(.best)').length") == 0


def column(page, table, number):
    """The head of a column, the texts below it, and how its table says that it is sorted."""
    rows = page.find_elements("css selector", f"table[aria-labelledby='{table}'] tr")
    head, *cells = (row.find_elements("css selector", "th, td")[number] for row in rows)
    return head, [cell.get_property("innerText") for cell in cells], head.get_attribute("aria-sort")


def sorted_by(page, table, number):
    """The same after a click on the head."""
    column(page, table, number)[0].find_element("css selector", "button").click()
    return column(page, table, number)[1:]


def test_a_click_on_a_header_sorts_by_its_column(open_page):
    page, rate, elbo = open_page(), ("test-set", 3), ("test-set", 2)
    assert column(page, *rate)[2] == "none"
    assert sorted_by(page, *rate) == (["10.00", "1000.00"], "ascending")
    assert sorted_by(page, *rate) == (["1000.00", "10.00"], "descending")
    sorted_by(page, *elbo)
    assert column(page, *rate)[2] == "none"


def test_what_is_missing_comes_last_in_either_direction(open_page):
    page = open_page()
    for direction in ("ascending", "descending"):
        texts, shown = sorted_by(page, "runs", 1)
        assert (texts[-1], shown) == ("\N{EN DASH}", direction)


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_does_not_scroll_sideways(open_page, width):
    page = open_page(width)
    evaluate(page, "all('details').forEach((d) => { d.open = true; })")
    root = "document.documentElement"
    assert evaluate(page, f"{root}.clientWidth") == width
    assert evaluate(page, f"{root}.scrollWidth") == width


def test_wide_tables_scroll_inside_and_keep_the_names_in_sight_on_a_phone(open_page):
    page = open_page(PHONE)
    box = page.find_element("css selector", ".scroll[aria-labelledby='test-set']")
    assert evaluate(page, "arguments[0].scrollWidth > arguments[0].clientWidth", box)
    assert evaluate(page, "arguments[0].tabIndex", box) == 0
    place = "arguments[0].querySelector('tbody th').getBoundingClientRect().left"
    before = evaluate(page, place, box)
    assert evaluate(page, "(arguments[0].scrollLeft = 300)", box) == 300
    assert evaluate(page, place, box) == pytest.approx(before, abs=1.0)


def contrast(*colours):
    """The contrast ratio of two colours by the Web Content Accessibility Guidelines, 1 to 21."""
    values = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    dark, bright = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (bright + 0.05) / (dark + 0.05)


def test_text_is_readable_in_light_and_in_dark():
    style = (ROOT / "crvae_tf" / "studies" / "templates" / "report.css").read_text()
    found = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)
    schemes = {name: colours for name, *colours in found}
    pairs = itertools.product(("text", "muted", "link"), ("page", "card", "head"))
    for text, ground in (*pairs, ("text", "best"), ("text", "remark")):
        for colours in zip(schemes[text], schemes[ground], strict=True):
            assert contrast(*colours) >= 4.5
    assert min(contrast("#ffffff", colour) for colour in _COLOURS) >= 4.5


def test_the_page_follows_the_scheme_of_the_reader(open_page):
    grounds = [
        evaluate(open_page(scheme=scheme), "getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(246, 247, 249)", "rgb(20, 23, 27)"]
