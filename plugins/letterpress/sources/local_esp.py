"""The local ESP's engagement: what happened to the mail that Letterpress sent, in the shape of the shop's own.

GET /api/events?since=&page_size=&cursor= with a Bearer token → landing.
"""

from dataclasses import replace

from letterpress.sources import email_events, rest

EVENTS = replace(email_events.EMAIL_EVENTS, path="/api/events")

ENTITIES = {"local_esp": (EVENTS,)}

pages = rest.pages
