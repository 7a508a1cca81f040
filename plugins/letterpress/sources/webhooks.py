"""What vendors told the webhook receiver: its table in the operational stores → landing, in the shape of all e-mail.

The receiver (``activation/webhooks``) writes each event once and gives every delivery a ``received_at`` that is later
than all before it, so that the cursor is a position in the table: nothing appears behind it. What has landed stays in
the table for some days and is read again by nobody.
"""

from dataclasses import replace

from letterpress.sources import demo_shop, sql
from letterpress.sources.entities import TEXT, column, schema_of

EVENTS = replace(
    demo_shop.EMAIL_EVENTS,
    key=("destination", "event_id"),
    schema=schema_of(column("destination", TEXT), demo_shop.EMAIL_EVENTS.schema),
    path=None,
)

ENTITIES = {"webhooks": (EVENTS,)}

pages = sql.pages
