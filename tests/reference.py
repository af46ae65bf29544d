"""Slow and plain NumPy oracles."""


def gaussian_log_density(z, mean, stddev):
    """log N(z; mean, stddev^2), summed over dimensions, one at a time."""
    total = 0.0
    for value, m, s in zip(z, mean, stddev, strict=True):
        total += -0.5 * ((value - m) / s) ** 2 - math.log(s) - 0.5 * math.log(2.0 * math.pi)
    return total


def log_mean_exp(values):
    """log of the mean of exp(values), with the largest taken out."""
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values) / len(values))


def mutual_information(samples, mean, stddev, disjoint=64):
    """I_q(x; z) by two loops: Dieng et al. 2018 (own included), Poole et al. 2019 (own left out).

    `disjoint` scores each later image's sample against the first images' posteriors only.
    """
    number = len(samples)
    disjoint = min(disjoint, number - 1)
    lower, upper, apart = [], [], []
    for i in range(number):
        row = [gaussian_log_density(samples[i], mean[j], stddev[j]) for j in range(number)]
        lower.append(row[i] - log_mean_exp(row))
        upper.append(row[i] - log_mean_exp(row[:i] + row[i + 1 :]))
        if i >= disjoint:
            apart.append(row[i] - log_mean_exp(row[:disjoint]))
    return {
        "lower": sum(lower) / len(lower),
        "upper": sum(upper) / len(upper),
        "cap": math.log(number),
        "disjoint": sum(apart) / len(apart),
    }


def nearest_neighbours(train, train_labels, test, number):
    """The class that most of the `number` nearest training points have; ties go to the smaller one."""
    found = []
    for point in test:
        nearest = np.argsort(((train - point) ** 2).sum(axis=1), kind="stable")[:number]
        found.append(np.bincount(train_labels[nearest]).argmax())
    return np.array(found)
