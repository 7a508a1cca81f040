"""A small shop that was built, scored, sent to and published as the line does it."""

from pathlib import Path

import pyarrow as pa
import small_shop as shop
from landed_home import Home
from landed_rows import AS_OF, IDENTITY_KEY, at

from letterpress import storage
from letterpress.activation import stores, suppression
from letterpress.operations.explain import explain
from letterpress.warehouse import history
from letterpress.warehouse.database import connect
from letterpress.warehouse.inputs import SCORES_SCHEMA

ANN, EVE = "shop:C1", "shop:C5"


def published_home(path: Path) -> Home:
    """The home, with both channels published."""
    home = Home(path)
    home.land(
        AS_OF,
        crm__customers=shop.ACCOUNTS,
        crm__consents=[
            *shop.CONSENTS,
            shop.consent("K30", "C1", "withdrawn", "2011-02-01", "preference_centre"),
            shop.consent("K31", "C1", "granted", "2011-03-01", "preference_centre"),
        ],
        catalogue__products=[shop.product("P1", "Garden"), shop.product("P2", "Kitchen")],
        shop__orders=shop.ORDERS,
        shop__order_lines=shop.LINES,
        shop__refunds=shop.REFUNDS,
        web__events=shop.EVENTS,
        email__events=shop.MAILS,
    )
    features = home.publish_features(AS_OF)
    with connect(features / "warehouse.duckdb") as connection:
        people = [one for (one,) in connection.execute("select customer_id from features.customer_features").fetchall()]
    folder = storage.join(home.settings.scores, "customer_clusters", "v1", "20110701T000000Z")
    rows = [
        {"model_name": "customer_clusters", "model_version": "v1", "as_of": AS_OF, "customer_id": one, "score": 1.0}
        | {"decile": 10, "tier": "Loyal", "scored_at": AS_OF, "run_id": "test"}
        for one in people
    ]
    storage.write_parquet(f"{folder}/scores.parquet", pa.Table.from_pylist(rows, schema=SCORES_SCHEMA))
    storage.write_json(f"{folder}/scores.json", {"content_hash": "one"})
    ann, eve = person(home, ANN), person(home, EVE)
    sends = [
        {"campaign_id": "spring", "customer_id": ann, "destination": "local_esp", "state": "accepted"}
        | {"accepted_at": at("2011-06-30 12:00"), "message_id": "message-1"}
    ]
    history.append(home.settings.history, "sends", "sends", table("sends", sends))
    changed = {"version": "earlier", "source_customer_key": "shop:C2", "old_customer_id": "an-old-id"}
    changes = [changed | {"new_customer_id": ann, "as_of": at("2011-06-01")}]
    history.append(home.settings.history, "identity_changes", "earlier", table("identity_changes", changes))
    home.publish_activation(scores=("customer_clusters/v1",))
    with stores.opened(home.settings.stores) as engine, stores.writing(engine) as connection:
        entries = suppression.entries(
            email="eve@example.com",
            customer_id=eve,
            reason="complained",
            source="test",
            suppressed_at=AS_OF,
            identity_key=IDENTITY_KEY,
        )
        suppression.suppress(connection, entries)
    return home


def person(home: Home, key: str) -> str:
    """The id of whoever a source knows by this key."""
    return explain(home.settings, key, identity_key=IDENTITY_KEY, is_safe=True).customer_id


def table(name: str, rows: list[dict]) -> pa.Table:
    """Rows of one of the histories."""
    return pa.Table.from_pylist(rows, schema=history.SCHEMAS[name])
