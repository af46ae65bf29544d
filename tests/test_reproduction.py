"""The tables of the paper and the verdicts, against figures worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from crvae_tf import reproduction, result_tables
from crvae_tf.reproduction import FAILED, HELD, NOISE, NOT_RUN, Method


def evaluation(nll, active_units=20, information=100.0, **more):
    split = {
        "num_images": 360,
        "nll": nll,
        "nll_samples": 5,
        "rate": 22.0,
        "active_units": active_units,
        "mutual_information_disjoint": information,
        "mutual_information_lower": 6.0,
        "mutual_information_upper": 20.0,
    } | more
    consistency = {"kl": 50.0, "symmetric_kl": 60.0, "distance_ratio": 0.5, "retrieval_at_1": 0.25}
    return {
        "splits": {"test": split, "transformed_test": split | {"nll": nll + 50.0}},
        "consistency": {"train_transform": consistency, "test_transform": consistency},
        "probe": {"num_train_images": 10, "clean": {"linear": 0.9, "nearest_neighbours": 0.8}},
    }


@pytest.fixture
def ablation():
    """Table 4 on MNIST: VAE+Aug at 84 and 86 nats, CR-VAE at 79 and 81."""
    cells = {
        ("mnist", "vae_aug"): [evaluation(84.0, 20), evaluation(86.0, 20)],
        ("mnist", "cr_vae"): [evaluation(79.0, 20, 90.0), evaluation(81.0, 22, 90.0)],
    }
    return reproduction.summarize_table(4, ["mnist"], cells)


def row_of(summary, **wanted):
    found = [row for row in summary["rows"] if wanted.items() <= row.items()]
    assert len(found) == 1
    return found[0]


def verdict_of(summary, metric, split="test"):
    found = [v for v in summary["verdicts"] if (v["metric"], v["split"]) == (metric, split)]
    assert len(found) == 1
    return found[0]


def test_the_package_holds_all_180_cells_of_the_paper():
    cells = reproduction.paper_figures()
    assert len(cells) == 180
    assert cells[1, "mnist", "vae", "nll", "test"] == {"mean": 83.7, "std": 0.3}
    assert (
        cells[2, "omniglot", "cr_beta_vae_10", "mutual_information", "transformed_test"]["mean"] == 22.5
    )
    assert cells[4, "celeb_a", "cr_vae", "active_units", "test"] == {"mean": 33.0, "std": 1.2}


def test_every_method_of_every_table_has_its_six_cells_in_the_paper():
    cells = reproduction.paper_figures()
    for number, table in reproduction.TABLES.items():
        for dataset in table.datasets:
            for method in table.methods:
                own = [key for key in cells if key[:3] == (number, dataset, method.label)]
                assert len(own) == 6


def test_the_paper_has_the_active_units_of_the_transformed_test_set_equal_to_the_test_sets():
    cells = reproduction.paper_figures()
    for (table, dataset, method, metric, split), cell in cells.items():
        if metric == "active_units" and split == "transformed_test":
            assert cell == cells[table, dataset, method, metric, "test"]


def test_the_eight_methods_of_table_1_come_in_pairs():
    assert reproduction.TABLES[1].methods == [
        Method("vae"),
        Method("cr_vae"),
        Method("iwae"),
        Method("cr_iwae"),
        Method("beta_vae", 0.5),
        Method("cr_beta_vae", 0.5),
        Method("beta_vae", 10.0),
        Method("cr_beta_vae", 10.0),
    ]


def test_the_spread_is_the_mean_and_the_sample_standard_deviation():
    found = reproduction.spread([80.0, 82.0, 87.0])
    assert found["mean"] == 83.0
    assert found["std"] == pytest.approx(math.sqrt((9.0 + 1.0 + 16.0) / 2.0))


def test_one_seed_has_no_standard_deviation():
    assert reproduction.spread([80.0]) == {"values": [80.0], "mean": 80.0, "std": None}


def test_the_noise_of_two_seeds_each_is_by_hand():
    """Variances 2 and 8 of two values: shares 1 and 4, freedom 25 / 17, standard error sqrt(5)."""
    noise = reproduction.noise_of_difference([9.0, 11.0], [20.0, 24.0])
    assert noise == pytest.approx(math.sqrt(5.0) * stats.t.ppf(0.975, 25.0 / 17.0))


def test_the_noise_is_half_of_scipys_welch_interval():
    generator = np.random.default_rng(0)
    base, other = generator.normal(0.0, 1.0, 5).tolist(), generator.normal(2.0, 3.0, 4).tolist()
    interval = stats.ttest_ind(other, base, equal_var=False).confidence_interval(0.95)
    noise = reproduction.noise_of_difference(base, other)
    assert 2.0 * noise == pytest.approx(interval.high - interval.low)


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
    found = reproduction.judge(base, other, better)
    assert found["verdict"] == verdict
    assert found["difference"] == (None if difference is None else pytest.approx(difference))


def test_one_active_unit_more_is_within_the_noise_and_two_are_not():
    assert reproduction.judge([19, 19], [20, 20], 1, least=1.0)["verdict"] == NOISE
    assert reproduction.judge([19, 19], [21, 21], 1, least=1.0)["verdict"] == HELD


def test_a_table_has_mean_and_deviation_beside_the_papers(ablation):
    row = row_of(ablation, method="cr_vae", metric="nll", split="test")
    assert (row["values"], row["mean"]) == ([79.0, 81.0], 80.0)
    assert row["std"] == pytest.approx(math.sqrt(2.0))
    assert (row["paper_mean"], row["paper_std"]) == (81.2, 0.2)
    information = row_of(ablation, method="cr_vae", metric="mutual_information_disjoint", split="test")
    assert information["paper_mean"] == 126.3
    bound = row_of(ablation, method="cr_vae", metric="mutual_information_upper", split="test")
    assert bound["paper_mean"] is None


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
    summary = reproduction.summarize_table(1, ["mnist"], {})
    assert {verdict["verdict"] for verdict in summary["verdicts"]} == {NOT_RUN}
    assert summary["verdicts"][0]["paper_difference"] == pytest.approx(81.2 - 83.7)
    assert "not run" in result_tables.table_markdown(summary)


def test_a_gaussian_nll_stands_beside_the_papers_without_its_constant():
    one = evaluation(11_380.0, half_squared_error_plus_rate=70.0)
    summary = reproduction.summarize_table(3, ["celeb_a"], {("celeb_a", "cr_vae"): [one]})
    row = row_of(summary, metric="half_squared_error_plus_rate", split="test")
    assert (row["mean"], row["paper_mean"]) == (70.0, 65.9)
    assert row_of(summary, metric="nll", split="test")["paper_mean"] is None
    assert "| CR-VAE | here | 1 | 70.00 |" in result_tables.table_markdown(summary)


def test_markdown_has_the_better_of_a_pair_in_bold_and_the_papers_below(ablation):
    lines = result_tables.table_markdown(ablation).splitlines()
    ours = next(line for line in lines if line.startswith("| CR-VAE | here | 2 |"))
    assert "| **80.00 ± 1.41** |" in ours
    assert "**90.00 ± 0.00**" not in ours
    theirs = lines[lines.index(ours) + 1]
    assert "| paper |" in theirs
    assert "81.2 ± 0.2" in theirs
    assert any(line.startswith("| VAE+Aug |") and "85.00 ± 1.41" in line for line in lines)


def test_markdown_says_of_each_claim_how_it_fared(ablation):
    text = result_tables.table_markdown(ablation)
    line = next(line for line in text.splitlines() if "a lower NLL than VAE+Aug, test " in line)
    assert "**within the noise**" in line
    assert "80.00 ± 1.41 against 85.00 ± 1.41" in line
    assert "-5.00 ± 6.08" in line
    assert "| -1.6 |" in line
    assert "in magnitude only" in text
    assert "2 did not hold, 6 within the noise" in text


def test_csv_has_a_line_for_each_figure(ablation):
    lines = result_tables.csv_text(ablation).splitlines()
    assert lines[0] == "dataset,method,metric,split,seeds,mean,std,paper_mean,paper_std"
    assert f"mnist,vae_aug,nll,test,2,85.0,{math.sqrt(2.0)},82.8,0.4" in lines
    assert len(lines) == 1 + len(ablation["rows"])


def test_the_study_of_eta_names_the_best_and_judges_the_papers():
    cells = {
        0.01: [evaluation(90.0), evaluation(90.2)],
        0.1: [evaluation(88.0), evaluation(88.2)],
        10.0: [evaluation(95.0), evaluation(95.2)],
    }
    summary = reproduction.summarize_eta("mnist", cells)
    assert summary["best_eta"] == 0.1
    assert (summary["verdict"]["other_eta"], summary["verdict"]["verdict"]) == (0.01, HELD)
    assert summary["verdict"]["difference"] == pytest.approx(-2.0)
    text = result_tables.eta_markdown(summary)
    assert "| 10 | 95.10 ± 0.14 |" in text
    assert "The lowest NLL is at eta = 0.1." in text
    assert f"eta = 0.01: **{HELD}** (nats: -2.00 ± 0.61)." in text


def test_the_study_of_eta_says_where_another_is_better():
    cells = {0.1: [evaluation(88.0), evaluation(88.2)], 1.0: [evaluation(80.0), evaluation(80.2)]}
    summary = reproduction.summarize_eta("mnist", cells)
    assert (summary["best_eta"], summary["verdict"]["verdict"]) == (1.0, FAILED)


@pytest.mark.parametrize(("etas", "said"), [([], "No eta was run."), ([0.01, 1.0], "at eta = 0.01. ")])
def test_the_study_of_eta_says_what_is_known_without_the_papers(etas, said):
    cells = {eta: [evaluation(88.0 + eta)] for eta in etas}
    text = result_tables.eta_markdown(reproduction.summarize_eta("mnist", cells))
    assert said in text
    assert ("The paper's choice, eta = 0.1, or another to set it against was not run." in text) == bool(
        etas
    )


def test_runs_stand_beside_published_figures_and_their_gains():
    cells = {("mnist", "vae"): [evaluation(87.0)], ("mnist", "iwae_5"): [evaluation(85.9)]}
    published = {"vae": 86.76, "iwae_5": 85.54}
    summary = reproduction.summarize_runs("Short", cells, published, "Burda et al. 2015")
    text = result_tables.runs_markdown(summary)
    assert "| VAE | 87.00 | 86.76 | +0.24 | +0.00 | +0.00 |" in text
    assert "| IWAE (K = 5) | 85.90 | 85.54 | +0.36 | -1.10 | -1.22 |" in text
