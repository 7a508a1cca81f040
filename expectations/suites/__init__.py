"""Every suite by its name: ``landed_<source>__<entity>``, ``mart_<table>``, ``score…``, ``payload``."""

from expectations.suites.check import Check
from expectations.suites.landed import LANDED
from expectations.suites.marts import MARTS
from expectations.suites.payloads import PAYLOADS
from expectations.suites.scores import SCORE_SUITES

SUITES: dict[str, list[Check]] = {**LANDED, **MARTS, **SCORE_SUITES, **PAYLOADS}


def score_suite(model_name: str) -> str:
    """The suite of a model's scores: its own, or the general one."""
    own = f"score_{model_name}"
    return own if own in SUITES else "scores"
