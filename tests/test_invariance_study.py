"""The study of embeddings that stay put, from evaluations made up for the purpose."""

import pytest

from crvae_tf import figures, files, invariance_study, results


def evaluation(nll, retrieval, clean, train, test):
    names = ("rate", "active_units", "mutual_information_lower", "mutual_information_upper")
    split = dict.fromkeys((*names, "mutual_information_disjoint"), 1.0)
    transforms = ("train_transform", "test_transform")
    found = {"consistency": {t: {"retrieval_at_1": retrieval} for t in transforms}}
    if nll is not None:
        found["splits"] = {"test": split | {"nll": nll}, "transformed_test": split | {"nll": nll + 50}}
        for values in found["consistency"].values():
            values["kl"] = 5.0
    accuracies = {"clean": clean, "train_transform": train, "test_transform": test}
    probe = {c: {"linear": a, "nearest_neighbours": a} for c, a in accuracies.items()}
    return found | {"probe": {"num_train_images": 10} | probe}


@pytest.fixture
def summary():
    evaluations = {
        "vae_aug": [evaluation(97.0, 0.3, 0.93, 0.7, 0.33), evaluation(98.0, 0.3, 0.93, 0.7, 0.33)],
        "cr_vae pose_dim=3 eta=0.3": [evaluation(100.0, 0.92, 0.95, 0.94, 0.85)],
        "cr_vae pose_dim=10": [evaluation(101.0, 0.4, 0.9, 0.6, 0.4)],
        "cr_vae eta=5": [],
    }
    return invariance_study.summarize(
        "mnist", "mlp", evaluations, {"pca": evaluation(None, 0.2, 0.9, 0.8, 0.3)}
    )


def test_each_setting_is_a_point_with_its_losses(summary):
    points = {point["setting"]: point for point in summary["points"]}
    assert list(points) == ["vae_aug", "cr_vae pose_dim=3 eta=0.3", "cr_vae pose_dim=10", "pca"]
    shared = points["cr_vae pose_dim=3 eta=0.3"]
    assert (shared["nll"], shared["nll_loss"]) == (100.0, pytest.approx(2.5))
    assert shared["train_gap"] == pytest.approx(0.01)
    assert shared["test_gap"] == pytest.approx(0.10)
    assert (points["pca"]["nll"], points["pca"]["nll_loss"]) == (None, None)


def test_the_frontier_is_what_nothing_beats_in_both(summary):
    frontier = [point["setting"] for point in summary["points"] if point["frontier"]]
    assert frontier == ["vae_aug", "cr_vae pose_dim=3 eta=0.3"]


def test_without_classes_the_frontier_is_of_retrieval():
    def without_probe(nll, retrieval):
        found = evaluation(nll, retrieval, 0.0, 0.0, 0.0)
        del found["probe"]
        return [found]

    cells = {
        "vae_aug": without_probe(97.0, 0.3),
        "b": without_probe(99.0, 0.2),
        "c": without_probe(99.5, 0.5),
    }
    summary = invariance_study.summarize("omniglot", "mlp", cells, {})
    assert [(point["loss"], point["frontier"]) for point in summary["points"]] == [
        (pytest.approx(0.7), True),
        (pytest.approx(0.8), False),
        (pytest.approx(0.5), True),
    ]
    assert "the NLL and `1 - retrieval at 1, training" in invariance_study.markdown(summary)


def test_the_page_says_what_was_met_and_what_was_not_run(summary):
    lines = invariance_study.markdown(summary).splitlines()
    assert (
        "| cr_vae pose_dim=3 eta=0.3 | **2.50** | **0.920** | **0.010** | **0.100** | 4 | yes |"
        in lines
    )
    assert "| pca | - | 0.200 | 0.100 | 0.600 | 0 |  |" in lines
    (figures_of_pca,) = (line for line in lines if line.startswith("| pca | - | - |"))
    assert "| 0.900 | 0.800 | 0.300 |" in figures_of_pca
    assert lines[-1] == "Not run: `cr_vae eta=5`."


def test_it_is_a_section_of_a_page(summary, tmp_path):
    made = {"commands": ["python -m launch.reproduce --preset=invariance"], "runs": 3, "seeds": 2}
    made |= {"epochs": [3], "nll_samples": [5], "num_images": [40], "hours": 1.0}
    made |= {"hardware": ["2 cores"], "commits": ["abc"]}
    files.write_json(tmp_path / "mnist.json", summary | {"provenance": made})
    text = results.document(tmp_path, tmp_path / "INVARIANCE.md")
    assert "## Embeddings that stay put, MNIST, mlp\n" in text
    assert "| vae_aug | 97.50 ± 0.71 |" in text


def test_the_picture_joins_the_frontier_and_has_a_point_or_a_line_for_all(
    summary, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure.axes[0]))
    figures.invariance_frontier(tmp_path / "frontier.png", summary["points"], "the loss")
    lines = {line.get_label(): line.get_xydata() for line in drawn[0].lines}
    shared = (100.0, pytest.approx(0.10))
    assert [tuple(point) for point in lines["frontier"]] == [(97.5, pytest.approx(0.6)), shared]
    assert [tuple(point) for point in lines["cr_vae pose_dim=3 eta=0.3"]] == [shared]
    assert list(lines["pca"][:, 1]) == pytest.approx([0.6, 0.6])
    assert set(lines) == {"frontier", *(point["setting"] for point in summary["points"])}


def test_a_target_that_is_met_exactly_is_met():
    cells = {"vae_aug": [evaluation(97.0, 0.9, 0.8, 0.78, 0.65)]}
    (point,) = invariance_study.summarize("mnist", "mlp", cells, {})["points"]
    assert [target.is_met(point[target.name]) for target in invariance_study.TARGETS] == [True] * 4
