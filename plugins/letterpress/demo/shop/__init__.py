"""The demo shop: a simulated retailer's back office behind a REST API and an event stream.

``python -m letterpress.demo.shop`` serves it on ``LETTERPRESS_HOST`` and ``LETTERPRESS_SHOP_PORT``. The first
start makes the history; ``POST /v1/clock/advance`` moves the clock and makes what happened until then.
"""
