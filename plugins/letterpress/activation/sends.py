"""Campaign mail in the stores: at most one message for each campaign, person and destination.

A row is ``planned`` before anything leaves, ``sent`` when the mail is under way, ``accepted`` when the
destination has taken it over, ``refused`` when it will not be sent. The idempotency key is the row's for ever.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from letterpress import storage
from letterpress.activation import stores
from letterpress.activation.stores import SENDS

PLANNED, SENT, ACCEPTED, REFUSED = "planned", "sent", "accepted", "refused"
OPEN_STATES = (PLANNED, SENT)


def key_of(campaign_id: str, customer_id: str, destination: str, identity_key: bytes) -> str:
    """The idempotency key of the one message to a person in a campaign."""
    message = hashlib.sha256("\n".join(("send", destination, campaign_id, customer_id)).encode())
    return hmac.digest(identity_key, message.digest(), "sha256").hex()


def plan(
    connection: sa.Connection,
    campaign_id: str,
    destination: str,
    customer_ids: Sequence[str],
    *,
    identity_key: bytes,
    run_id: str,
) -> dict[str, Mapping]:
    """Write a row for each person who has none, within a write transaction; returns everybody's row."""
    known = rows_of(connection, campaign_id, destination, customer_ids)
    new = [
        {
            "campaign_id": campaign_id,
            "customer_id": customer_id,
            "destination": destination,
            "state": PLANNED,
            "idempotency_key": key_of(campaign_id, customer_id, destination, identity_key),
            "run_id": run_id,
        }
        for customer_id in customer_ids
        if customer_id not in known
    ]
    if new:
        connection.execute(sa.insert(SENDS), new)
    return rows_of(connection, campaign_id, destination, customer_ids)


def begin(connection: sa.Connection, campaign_id: str, destination: str, customer_id: str, *, run_id: str) -> bool:
    """The mail is about to leave; false where another run has settled it meanwhile."""
    return _update(connection, campaign_id, destination, customer_id, OPEN_STATES, state=SENT, run_id=run_id)


def accept(
    connection: sa.Connection,
    campaign_id: str,
    destination: str,
    customer_id: str,
    *,
    message_id: str,
    accepted_at: datetime,
) -> bool:
    """The destination has taken the mail over; false where that was recorded already."""
    return _update(
        connection,
        campaign_id,
        destination,
        customer_id,
        (*OPEN_STATES, REFUSED),
        state=ACCEPTED,
        message_id=message_id,
        accepted_at=accepted_at,
        error_code=None,
    )


def refuse(connection: sa.Connection, campaign_id: str, destination: str, customer_id: str, *, code: str) -> bool:
    """The mail will not be sent, and why; false where it was settled already."""
    return _update(connection, campaign_id, destination, customer_id, OPEN_STATES, state=REFUSED, error_code=code)


def rows_of(
    connection: sa.Connection, campaign_id: str, destination: str, customer_ids: Iterable[str]
) -> dict[str, Mapping]:
    """The rows of these people, by customer id."""
    found: dict[str, Mapping] = {}
    for chunk in stores.chunks(customer_ids):
        query = sa.select(SENDS).where(
            SENDS.c.campaign_id == campaign_id,
            SENDS.c.destination == destination,
            SENDS.c.customer_id.in_(chunk),
        )
        found.update((row["customer_id"], row) for row in connection.execute(query).mappings())
    return found


def unanswered(connection: sa.Connection, campaign_id: str, destination: str) -> list[Mapping]:
    """The mails that were under way when a run ended: the destination may have them or not."""
    query = (
        sa.select(SENDS)
        .where(SENDS.c.campaign_id == campaign_id, SENDS.c.destination == destination, SENDS.c.state == SENT)
        .order_by(SENDS.c.customer_id)
    )
    return list(connection.execute(query).mappings())


def export_sends(*, stores_url: str, history: str) -> str:
    """Write the sends to ``<history>/sends/sends.parquet`` for dbt; returns the URI.

    campaign_id, customer_id, destination, state, accepted_at (the destination's clock), message_id, in the
    order of the first three. The file is touched only where it would differ.
    """
    import pyarrow as pa

    schema = pa.schema(
        {
            "campaign_id": pa.string(),
            "customer_id": pa.string(),
            "destination": pa.string(),
            "state": pa.string(),
            "accepted_at": pa.timestamp("us", tz="UTC"),
            "message_id": pa.string(),
        }
    )
    query = sa.select(*(SENDS.c[name] for name in schema.names))
    with stores.opened(stores_url) as engine, stores.reading(engine) as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    # Sorted here: two databases need not agree on the order of texts.
    found.sort(key=lambda row: (row["campaign_id"], row["customer_id"], row["destination"]))
    table = pa.Table.from_pylist(found, schema=schema)
    uri = storage.join(history, "sends", "sends.parquet")
    if not storage.exists(uri) or not storage.read_parquet(uri).equals(table):
        storage.write_parquet(uri, table)
    return uri


def _update(
    connection: sa.Connection,
    campaign_id: str,
    destination: str,
    customer_id: str,
    from_states: Sequence[str],
    **values: object,
) -> bool:
    changed = connection.execute(
        sa.update(SENDS)
        .where(
            SENDS.c.campaign_id == campaign_id,
            SENDS.c.destination == destination,
            SENDS.c.customer_id == customer_id,
            SENDS.c.state.in_(from_states),
        )
        .values(**values)
    )
    return changed.rowcount == 1
