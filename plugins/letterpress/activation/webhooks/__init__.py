"""Engagement back: vendors tell by webhook what became of mail, and whoever wants no more of it is stopped at once.

``python -m letterpress.activation.webhooks`` serves ``POST /<destination>``. What happens to a delivery, in order:

1. ``signing``  Is it the vendor's, of now, and whole? Everything else is refused without a word.
2. ``vendors``  One module a vendor: how it signs, and how its events are read. All come to one shape, ``spec.Event``.
3. ``inbox``    One transaction: events that are new go into the store's table ``webhook_events``, and unsubscribes,
   hard bounces and complaints into live suppression. Only then is the vendor answered 200, so that a kill at any
   moment loses nothing: what was not answered is sent again, and what is there already changes nothing.

The source ``webhooks`` lands the table like any other at its next ingest run. Its cursor is the position in the
table, ``received_at``, which no two deliveries share and which only grows.

To add a vendor: one module in ``vendors`` with ``VENDOR``. Braze has none: it tells of mail by Currents alone, a
stream into a bucket, and its webhooks are messages to other systems.
"""
