"""The assets that chain the DAGs: what the asset graph in the UI shows."""

from airflow.sdk import Asset, AssetAlias

FEATURES = Asset(name="published_features", uri="letterpress://published/features", group="published")
ACTIVATION = Asset(name="published_activation", uri="letterpress://published/activation", group="published")
CHAMPIONS = Asset(name="model_champions", uri="letterpress://models/champions", group="models")
DEGRADED = Asset(name="model_degraded", uri="letterpress://models/degraded", group="models")
SCORES = Asset(name="model_scores", uri="letterpress://models/scores", group="models")
DBT_MODELS = AssetAlias(name="dbt_models", group="dbt")


def landed(source: str) -> Asset:
    """The loads of one source."""
    return Asset(name=f"landed_{source}", uri=f"letterpress://landing/{source}", group="landing")


def synced(destination: str) -> Asset:
    """What a destination has acknowledged."""
    return Asset(name=f"synced_{destination}", uri=f"letterpress://activation/{destination}", group="activation")


def sent(campaign: str) -> Asset:
    """The messages of one campaign."""
    return Asset(name=f"sent_{campaign}", uri=f"letterpress://campaigns/{campaign}", group="activation")


def dbt_model(relation: str) -> Asset:
    """One published table, as ``schema.table``."""
    return Asset(name=f"dbt_{relation}", uri=f"letterpress://warehouse/{relation.replace('.', '/')}", group="dbt")
