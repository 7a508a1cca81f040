"""What a model wrote, before the activation build may read it.

``scores`` holds for every model; a model with promises of its own has a suite ``score_<model_name>`` that
begins with it. One file is one model, one version and one ``as_of``.
"""

from expectations.suites.check import (
    NAME,
    NOT_BLANK,
    Check,
    between,
    columns,
    distinct,
    filled,
    matches,
    one_of,
    plausible_instant,
    rows,
    unique,
)

COLUMNS = (
    *("model_name", "model_version", "as_of", "customer_id", "score", "decile", "tier"),
    *("reasons", "details", "scored_at", "run_id"),
)
MAY_BE_EMPTY = ("reasons", "details")

_EVERY_MODEL = [
    columns(*COLUMNS, exact=True),
    rows(1),
    *(filled(name) for name in COLUMNS if name not in MAY_BE_EMPTY),
    matches("model_name", NAME),
    *(distinct(name, 1, 1) for name in ("model_name", "model_version", "as_of")),
    plausible_instant("as_of"),
    matches("customer_id", NOT_BLANK),
    unique("customer_id"),
    # Infinite scores fail here, NaN fails as a null.
    between("score", -1e15, 1e15),
    distinct("score", 20, severity="warning", minimum_rows=1_000),
    between("decile", 1, 10),
    distinct("decile", 10, 10, "warning", minimum_rows=1_000),
    matches("tier", NOT_BLANK),
]

# A model that says the same of everybody says nothing.
SCORES = [*_EVERY_MODEL, distinct("score", 2, minimum_rows=10)]

# Except these: a small shop's customers are one cluster, without evidence nobody gains more than others by a mail, and
# where nothing is missing nothing is filled in.
MAY_BE_ALIKE = [*_EVERY_MODEL, distinct("score", 2, severity="warning", minimum_rows=10)]

CUSTOMER_CLUSTERS = [
    *MAY_BE_ALIKE,
    # The confidence of the membership; the tier is the label of the cluster.
    between("score", 0, 1),
    distinct("tier", None, 12),
    distinct("tier", 2, severity="warning", minimum_rows=1_000),
]

CUSTOMER_LIFETIME_VALUE = [
    *SCORES,
    between("score", 0, 10_000_000),
    one_of("tier", ["high", "medium", "low"]),
    distinct("tier", 3, severity="warning", minimum_rows=1_000),
]

SCORE_SUITES: dict[str, list[Check]] = {
    "scores": SCORES,
    "score_customer_clusters": CUSTOMER_CLUSTERS,
    "score_customer_lifetime_value": CUSTOMER_LIFETIME_VALUE,
    "score_uplift": MAY_BE_ALIKE,
    "score_profile_imputation": MAY_BE_ALIKE,
}
