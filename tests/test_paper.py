"""The tables of the paper and the verdicts, against figures worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from crvae_tf.studies import paper
from crvae_tf.studies.paper import FAILED, HELD, NOISE, NOT_RUN
from tests.made_up import evaluation, probe


@pytest.fixture
def ablation():
    """Table 4 on MNIST: VAE+Aug at 84 and 86 nats, CR-VAE at 79 and 81."""

    def of(nll, active_units, information):
        more = {"active_units": active_units, "mutual_information_disjoint": information}
        return evaluation(nll, **more) | {"probe": probe(0.9)}

    cells = {
        ("mnist", "vae_aug"): [of(84.0, 20, 100.0), of(86.0, 20, 100.0)],
        ("mnist", "cr_vae"): [of(79.0, 20, 90.0), of(81.0, 22, 90.0)],
    }
    return paper.summarize(4, ["mnist"], cells)


def row_of(summary, metric, split="test"):
    rows = summary["rows"].query("method == 'cr_vae' and metric == @metric and split == @split")
    (row,) = rows.to_dict("records")
    return row


def verdict_of(summary, metric, split="test"):
    (found,) = (v for v in summary["verdicts"] if (v["metric"], v["split"]) == (metric, split))
    return found


def test_the_package_holds_all_180_cells_of_the_paper():
    figures = paper.paper_figures()
    assert len(figures) == 180
    cells = figures.set_index(["table", "dataset", "method", "metric", "split"])
    assert cells.loc[1, "mnist", "vae", "nll", "test"].to_list() == [83.7, 0.3]
    cell = cells.loc[2, "omniglot", "cr_beta_vae_10", "mutual_information", "transformed_test"]
    assert cell["mean"] == 22.5
    assert cells.loc[4, "celeb_a", "cr_vae", "active_units", "test"].to_list() == [33.0, 1.2]
    number_of = figures.groupby(["table", "dataset", "method"]).size()
    for number, datasets in paper.DATASETS.items():
        for dataset in datasets:
            assert {number_of[number, dataset, label] for label in paper.methods(number)} == {6}


def test_the_noise_is_by_welch_and_satterthwaite():
    generator = np.random.default_rng(0)
    base, other = generator.normal(0.0, 1.0, 5), generator.normal(2.0, 3.0, 4)
    shares = [np.var(values, ddof=1) / len(values) for values in (base, other)]
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / 4 + shares[1] ** 2 / 3)
    expected = stats.t.ppf(0.975, freedom) * math.sqrt(sum(shares))
    assert paper.judge(base.tolist(), other.tolist(), 1)["noise"] == pytest.approx(expected)
    # Seeds that agree have the noise of the others alone, a share of 1 with one degree of freedom.
    noise = paper.judge([50.0, 50.0], [9.0, 11.0], 1)["noise"]
    assert noise == pytest.approx(stats.t.ppf(0.975, 1.0))


@pytest.mark.parametrize(
    ("base", "other", "better", "verdict", "difference"),
    [
        ([84.0, 84.1, 83.9], [81.0, 81.1, 80.9], -1, HELD, -3.0),
        ([84.0, 84.1, 83.9], [81.0, 81.1, 80.9], 1, FAILED, -3.0),
        ([81.0, 81.1, 80.9], [84.0, 84.1, 83.9], -1, FAILED, 3.0),
        ([84.0, 90.0], [81.0, 87.0], -1, NOISE, -3.0),
        ([84.0], [81.0], -1, NOISE, -3.0),
        ([84.0, 84.0], [81.0], -1, NOISE, -3.0),
        ([50.0, 50.0], [50.0, 50.0], 1, NOISE, 0.0),
        ([84.0, 84.0], [81.0, 81.0], -1, HELD, -3.0),
        ([], [81.0, 81.0], -1, NOT_RUN, None),
    ],
)
def test_a_claim_is_judged_by_direction_and_noise(base, other, better, verdict, difference):
    found = paper.judge(base, other, better)
    assert found["verdict"] == verdict
    assert found["difference"] == (None if difference is None else pytest.approx(difference))


def test_one_active_unit_more_is_within_the_noise_and_two_are_not():
    assert paper.judge([19, 19], [20, 20], 1, least=1.0)["verdict"] == NOISE
    assert paper.judge([19, 19], [21, 21], 1, least=1.0)["verdict"] == HELD


def test_a_table_has_mean_and_deviation_beside_the_papers(ablation):
    row = row_of(ablation, "nll")
    assert (row["values"], row["mean"]) == ([79.0, 81.0], 80.0)
    assert row["std"] == pytest.approx(math.sqrt(2.0))
    assert (row["paper_mean"], row["paper_std"]) == (81.2, 0.2)
    assert row_of(ablation, "mutual_information_disjoint")["paper_mean"] == 126.3
    assert np.isnan(row_of(ablation, "mutual_information_upper")["paper_mean"])


def test_a_table_judges_each_claim_of_each_pair(ablation):
    """85 - 80 nats, each with a deviation of sqrt(2): noise t(0.975; 2) sqrt(2) = 6.08."""
    nll = verdict_of(ablation, "nll")
    assert (nll["base"], nll["regularised"], nll["verdict"]) == ("vae_aug", "cr_vae", NOISE)
    assert nll["difference"] == -5.0
    assert nll["noise"] == pytest.approx(math.sqrt(2.0) * stats.t.ppf(0.975, 2.0))
    assert nll["paper_difference"] == pytest.approx(81.2 - 82.8)
    assert verdict_of(ablation, "mutual_information_disjoint")["verdict"] == FAILED
    assert verdict_of(ablation, "active_units", "transformed_test")["verdict"] == NOISE
    assert len(ablation["verdicts"]) == 8


def test_a_table_of_which_nothing_was_run_says_so():
    summary = paper.summarize(1, ["mnist"], {})
    assert {verdict["verdict"] for verdict in summary["verdicts"]} == {NOT_RUN}
    assert summary["verdicts"][0]["paper_difference"] == pytest.approx(81.2 - 83.7)
    assert "| CR-VAE | here | 0 | not run |" in paper.markdown(summary)


def test_a_gaussian_nll_stands_beside_the_papers_without_its_constant():
    one = evaluation(11_380.0, half_squared_error_plus_rate=70.0)
    summary = paper.summarize(3, ["celeb_a"], {("celeb_a", "cr_vae"): [one]})
    row = row_of(summary, "half_squared_error_plus_rate")
    assert (row["mean"], row["paper_mean"]) == (70.0, 65.9)
    assert np.isnan(row_of(summary, "nll")["paper_mean"])
    assert "| CR-VAE | here | 1 | 70.00 |" in paper.markdown(summary)


def test_markdown_has_the_papers_figures_below_ours_and_says_how_each_claim_fared(ablation):
    lines = paper.markdown(ablation).splitlines()
    ours = next(line for line in lines if line.startswith("| CR-VAE | here | 2 | 80.00 ± 1.41 |"))
    assert lines[lines.index(ours) + 1].startswith("|  | paper |  | 81.2 ± 0.2 |")
    claim = "CR-VAE has a lower NLL than VAE+Aug, test"
    figures = "80.00 ± 1.41 against 85.00 ± 1.41 | -5.00 ± 6.08 | -1.6"
    assert f"| {claim} | **within the noise** | {figures} |" in lines
    assert any("2 did not hold, 6 within the noise" in line for line in lines)
