"""A process of its own that promotes versions as fast as it can; prints how often it won."""

import sys
from datetime import UTC, datetime

from ml import registry
from ml.errors import PromotionConflict

url, worker, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
won = 0
for number in range(rounds):
    serving = registry.champion("model", url)
    try:
        registry.promote(
            "model",
            f"{worker}-{number}",
            url,
            as_of=datetime(2011, 7, 1, tzinfo=UTC),
            reason="race",
            expected=serving.model_version if serving else None,
        )
    except PromotionConflict:
        continue
    won += 1
sys.stdout.write(str(won))
