"""Values of eta, settings and runs side by side, from evaluations made up for the purpose."""

import pytest

from crvae_tf.studies import comparisons
from tests.made_up import evaluation, probe


def eta_study(**seeds):
    cells = {("mnist", f"cr_vae eta={eta}"): found for eta, found in seeds.items()}
    return comparisons.summarize("eta", cells)


@pytest.mark.parametrize(
    ("nlls", "said"),
    [
        ({}, "The paper's choice, eta = 0.1, or another to set it against was not run."),
        ({"0.01": [90.0], "0.1": [88.0]}, "NLL is at eta = 0.1. The paper's choice, eta = 0.1, has a"),
        ({"0.01": [90.0, 90.2], "0.1": [88.0, 88.2]}, "eta = 0.01: **held** (nats: -2.00 ± 0.61)."),
        ({"0.1": [88.0, 88.2], "1": [80.0, 80.2]}, "eta = 1: **did not hold** (nats: +8.00 ± 0.61)."),
        ({"0.1": [88.0], "1": [80.0]}, "eta = 1: **within the noise** (nats: +8.00, of single seeds)."),
    ],
)
def test_the_papers_eta_is_set_against_the_best_of_the_others(nlls, said):
    seeds = {eta: [evaluation(nll) for nll in values] for eta, values in nlls.items()}
    assert said in comparisons.markdown(eta_study(**{"0.3": []} | seeds))


def test_settings_stand_side_by_side_and_the_page_says_what_was_not_run():
    pca = {"consistency": evaluation(1.0)["consistency"], "probe": probe(0.9, 0.8, 0.3)}
    cells = {
        ("mnist", "vae_aug"): [evaluation(97.0), evaluation(98.0)],
        ("mnist", "cr_vae eta=5"): [],
        ("mnist", "pca"): [pca],
    }
    lines = comparisons.markdown(comparisons.summarize("invariance", cells, network="mlp")).splitlines()
    assert any(line.startswith("| vae_aug | 97.50 ± 0.71 | 195.00 ± 1.41 |") for line in lines)
    (figures_of_pca,) = (line for line in lines if line.startswith("| pca | - | - |"))
    assert "| 0.900 | 0.800 | 0.300 |" in figures_of_pca
    assert "Not run: `cr_vae eta=5`." in lines


def test_eta_curves_have_a_line_for_each_split_with_bars(drawn):
    cells = {"0.1": [evaluation(88.0), evaluation(90.0)], "1": [evaluation(80.0)]}
    comparisons.eta_curves("eta.png", eta_study(**cells)["rows"])
    nll, *_, retrieval = drawn[0].axes
    held_out, transformed = (line.get_xydata().tolist() for line in nll.lines[::3])
    assert held_out == [[0.1, 89.0], [1.0, 80.0]]
    assert transformed == [[0.1, 178.0], [1.0, 160.0]]
    assert retrieval.get_ylabel() == "share"


def test_invariance_curves_are_marked_at_the_ranges_of_the_transformed_test_set(drawn):
    names = ("kl", "retrieval_at_1", "linear", "nearest_neighbours")
    points = [{"size": size} | dict.fromkeys(names, 0.5) for size in (0.0, 99.0)]
    measured = {"r$_$x": dict.fromkeys(("translation", "rotation", "scaling"), points)}
    comparisons.invariance_curves("curves.png", measured, {"rotation": 120.0, "scaling": 0.6})
    marks = [
        [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        for axes in drawn[0].axes
    ]
    assert marks == [[], [120.0], [0.6]] * len(names)
    drawn[0].draw_without_rendering()  # A name is no formula.
