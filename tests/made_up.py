"""Evaluations, made up."""

TRANSFORMS = ("train_transform", "test_transform")
_INFORMATION = ("lower", "upper", "cap", "disjoint")


def probe(*accuracies):
    """What an evaluation holds of probes, accuracies by condition; a single one is all of theirs."""
    conditions = ("clean", *TRANSFORMS)
    values = accuracies * 3 if len(accuracies) == 1 else accuracies
    found = {c: {"linear": a, "nearest_neighbours": a} for c, a in zip(conditions, values, strict=True)}
    return {"num_train_images": 9} | found


def evaluation(nll, retrieval=0.25, config=None, **of_split):
    """An `evaluation.json` without probes; the NLL is twice as high on transformed images."""
    split = {"num_images": 40, "nll_stderr": 0.25, "nll_samples": 5, "rate": 10.0, "distortion": 90.0}
    split |= {"active_units": 7} | {f"mutual_information_{name}": 1.0 for name in _INFORMATION}
    splits = {
        name: split | {"nll": value, "elbo": -value - 3.0} | of_split
        for name, value in (("test", nll), ("transformed_test", 2.0 * nll))
    }
    pairs = {"kl": 4.0, "symmetric_kl": 5.0, "distance_ratio": 0.5, "retrieval_at_1": retrieval}
    found = {"splits": splits, "consistency": {name: dict(pairs) for name in TRANSFORMS}}
    return found if config is None else {"config": config} | found
