"""From runs, finished or not, to what a report shows of them."""

from crvae_tf import InputError, datasets, report
from launch import assembly, run_sets


def exhibit(record: report.RunRecord, data_dir: str | None) -> report.Exhibit:
    """Returns what a run has to show, its data looked for in `data_dir` where that is given."""

    def load_images():
        of_run = run_sets.options_of(record.run, data_dir, record.config)
        if not datasets.is_prepared(of_run.dataset, of_run.data_dir):
            raise InputError(
                f"--data_dir: expected {of_run.dataset} prepared in it; received {of_run.data_dir}"
            )
        data = assembly.load_data(of_run)
        if data.fingerprint != record.config.get("data_fingerprint"):
            raise InputError(f"{data.name}: expected the training's data; received others")
        return report.test_images(data, of_run.binarization, assembly.test_transformation(of_run))

    return report.exhibit(record, load_images)
