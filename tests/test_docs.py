"""The documents: code that runs, flags as they are defined, links that lead somewhere, the layout."""

import contextlib
import io
import re
import runpy

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.spatial.distance import cdist

import crvae_tf
from crvae_tf import load_encoder, networks
from tests.conftest import ROOT, python_blocks

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.slow
def test_the_quickstart_finds_images_of_the_same_digit(tmp_path, monkeypatch):
    (code,) = python_blocks("README.md", "Quickstart")
    monkeypatch.chdir(tmp_path)
    reader, told = {}, io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(code, reader)
    labels, distances = reader["labels"], cdist(reader["content"], reader["content"])
    nearest = labels[np.argsort(distances, axis=1)[:, 1:6]]
    assert np.mean(nearest == labels[:, np.newaxis]) >= 0.75
    assert f"a {labels[0]}, and the images nearest to it: {nearest[0]}" in told.getvalue()


def test_the_readme_s_own_vae_has_the_bound_of_the_package_s():
    (code,) = python_blocks("README.md", "Your own VAE")
    reader = {"keras": keras, "tf": tf, "tfd": tfp.distributions, "crvae_tf": crvae_tf}
    exec(code, reader)
    base = crvae_tf.VAE(*networks.build("mlp", (28, 28, 1), 5, 0.1))
    own = reader["MyVAE"]()
    own.encoder, own.decoder = base.encoder, base.decoder
    images = tf.cast(np.random.default_rng(0).uniform(size=(3, 28, 28, 1)) > 0.5, tf.float32)
    seed = tf.constant([1, 2])
    bound = own.bound(images, seed)
    likelihood = base.likelihood(bound.posterior.sample(seed=seed))
    expected = crvae_tf.elbo(base.posterior(images), base.prior, likelihood, images)
    np.testing.assert_allclose(bound.value, expected, rtol=1e-5)
    np.testing.assert_allclose(-bound.value, bound.rate + bound.distortion, rtol=1e-6)


def test_the_page_of_flags_is_what_the_definitions_say():
    script = runpy.run_path(str(ROOT / "docs" / "write_pages.py"))
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == script["page"]()


def anchors(page):
    """Returns the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_commands_and_flagfiles_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        found = page.parent / place if place else page
        assert found.exists(), target
        if anchor and "api.md" not in place:
            assert anchor in anchors(found), target
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (launch|benchmarks)\.([a-z]\w*)", text):
        assert (ROOT / module[0] / f"{module[1]}.py").exists(), module
    for flagfile in re.findall(r"--flagfile=([\w./]+\.flags)", text):
        assert (ROOT / flagfile).exists(), flagfile


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_notebook_runs_from_start_to_end(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="the extra test is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra test is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "examples" / "quickstart.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=1000, resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4


def test_the_guide_regularises_a_vae_of_the_reader_s_own(digits):
    _, images, _ = next(digits.train.batches(512).as_numpy_iterator())
    (guide,) = python_blocks("docs/python.md", "Regularising your own VAE")
    reader = {"images": images.astype(np.float32) / 255.0}
    exec(guide, reader)
    history = reader["model"].history.history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    terms = {name: np.array(values) for name, values in history.items()}
    expected = 0.1 * terms["consistency"] - terms["bound"] - terms["view_bound"]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-4)
    assert min(history["consistency"]) > 0.0
    (registered,) = python_blocks("docs/python.md", "Registered networks")
    reader["encoder"], reader["decoder"] = networks.build("mlp", (28, 28, 1), 5, 0.1)
    exec(registered, reader)
    assert min(reader["model"].history.history["consistency"]) > 0.0


def test_the_calls_from_python_evaluate_and_export(tmp_path, monkeypatch):
    (code,) = python_blocks("docs/python.md", "Data, evaluation and export")
    monkeypatch.chdir(tmp_path)
    exec(code, reader := {})
    test = reader["figures"]["splits"]["test"]
    assert (test["num_images"], test["nll_samples"]) == (100, 100)
    # What has not learned anything finds either value of a pixel about as likely.
    assert test["nll"] == pytest.approx(784 * np.log(2.0), rel=0.05)
    assert set(reader["figures"]) == {"splits", "consistency", "probe"}
    assert load_encoder(tmp_path / "encoder").latent_dim == 50
    assert (tmp_path / "decoder" / "saved_model.pb").exists()


@pytest.mark.parametrize("package", ["crvae_tf", "launch"])
def test_the_layout_names_every_module_after_all_that_it_imports(package):
    named = layout(package)
    modules = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")}
    assert sorted(named) == sorted(modules)
    for path in (ROOT / package).rglob("*.py"):
        code = path.read_text()
        assert package == "launch" or not re.search(r"^\s*(from|import) launch\b", code, re.MULTILINE)
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if not own.startswith("_"):
            for later in named[named.index(own) + 1 :]:
                imports = rf"^\s*from {package}(\.| import .*\b){later}\b"
                assert not re.search(imports, code, re.MULTILINE), (path, later)


def layout(package):
    """Returns the modules of a package in the order in which BUILD.md names them."""
    text = (ROOT / "BUILD.md").read_text()
    lines = re.search(rf"^{package}/ .*?(?=^\S)", text, re.DOTALL | re.MULTILINE)[0].splitlines()
    return [name.strip("/") for line in lines for name in line[12:59].split()]
