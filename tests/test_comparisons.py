"""Settings and runs side by side, from evaluations made up for the purpose."""

from crvae_tf.studies import comparisons
from tests.made_up import evaluation, probe


def test_settings_stand_side_by_side_and_the_page_says_what_was_not_run():
    pca = {"consistency": evaluation(1.0)["consistency"], "probe": probe(0.9, 0.8, 0.3)}
    cells = {
        ("mnist", "vae_aug"): [evaluation(97.0), evaluation(98.0)],
        ("mnist", "cr_vae eta=5"): [],
        ("mnist", "pca"): [pca],
    }
    lines = comparisons.markdown(comparisons.summarize("invariance", cells, network="mlp")).splitlines()
    assert any(line.startswith("| vae_aug | 97.50 ± 0.71 / 195.00 ± 1.41 |") for line in lines)
    (figures_of_pca,) = (line for line in lines if line.startswith("| pca | - | - |"))
    assert "| 0.900 / 0.800 / 0.300 |" in figures_of_pca
    assert "Not run: `cr_vae eta=5`." in lines


def test_the_frontier_has_a_point_for_each_setting_with_a_likelihood(drawn):
    cells = {("mnist", "cr_vae"): [evaluation(97.0), evaluation(98.0)]}
    cells["mnist", "pca"] = [{"consistency": evaluation(1.0)["consistency"]}]
    comparisons.frontier("frontier.png", comparisons.summarize("invariance", cells)["rows"])
    (points,) = drawn[0].axes[0].collections
    retrieval = evaluation(1.0)["consistency"]["test_transform"]["retrieval_at_1"]
    assert points.get_offsets().tolist() == [[97.5, retrieval]]
    assert points.get_label() == "CR-VAE"


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
