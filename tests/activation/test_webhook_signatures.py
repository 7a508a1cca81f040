"""Only what a vendor has signed, just now and unchanged, is taken in."""

import base64
from datetime import timedelta

import pytest
from webhook_receiver import Box
from webhook_vendors import (
    NOW,
    SECRETS,
    UNSUBSCRIBES,
    Request,
    digest,
    hubspot,
    hubspot_change,
    klaviyo,
    klaviyo_event,
)

from letterpress.activation.webhooks import signing
from letterpress.activation.webhooks.vendors import VENDORS

KEY = b"correct horse battery staple"
SIGNED = ["klaviyo", "hubspot", "salesforce"]
TIMED = ["klaviyo", "hubspot"]
SIGNATURES = {vendor: VENDORS[vendor].signature.header for vendor in SIGNED}

# Made with `openssl dgst -sha256 -hmac 'correct horse battery staple'`.
VECTORS = {
    "klaviyo": (
        b'{"data":[],"meta":{"klaviyo_webhook_id":"w1"}}',
        {"klaviyo-timestamp": "Thu, 04 Jan 2024 18:05:25 GMT"},
        "690faecfb7a4db332db36967b85e7fb51bb108341391ccb389479c7acf2a9221",
    ),
    "hubspot": (
        b"[]",
        {"x-hubspot-request-timestamp": "1704391525000"},
        "k0QG2WQG86m/YqeDY8aqmneBgqZ87RCLBAGEaubrNAk=",
    ),
    "salesforce": (b"[]", {}, "acmQL16Mtb6gl80xedLiCOY3cv41bs5/MnpJvzL9dug="),
}


@pytest.mark.parametrize("vendor", SIGNED)
def test_a_signature_that_openssl_made_is_the_vendors(vendor):
    body, headers, signature = VECTORS[vendor]
    headers = {**headers, SIGNATURES[vendor]: signature}
    delivery = signing.Delivery("POST", f"https://hooks.example.com/{vendor}", headers, body)
    signing.check(VENDORS[vendor], KEY, delivery)
    with pytest.raises(signing.Refused, match="wrong signature"):
        signing.check(VENDORS[vendor], KEY + b"!", delivery)


def test_klaviyos_published_example_is_of_that_instant_and_not_ours():
    headers = {"klaviyo-timestamp": "Thu, 04 Jan 2024 18:05:25 GMT", "klaviyo-signature": "e6c00e31" * 8}
    assert VENDORS["klaviyo"].timestamp.read(headers["klaviyo-timestamp"]).isoformat() == "2024-01-04T18:05:25+00:00"
    with pytest.raises(signing.Refused, match="wrong signature"):
        signing.check(VENDORS["klaviyo"], KEY, signing.Delivery("POST", "", headers, b"{}"))


def test_hubspots_address_is_signed_with_some_signs_written_out():
    written, sent = "https://hooks.example.com/hubspot?a=(b),c@d", "https://hooks.example.com/hubspot?a=%28b%29%2cc%40d"
    headers = {"x-hubspot-request-timestamp": "1704391525000"}
    signature = digest(KEY.decode(), b"POST" + written.encode() + b"[]" + b"1704391525000")
    headers["x-hubspot-signature-v3"] = base64.b64encode(signature).decode()
    signing.check(VENDORS["hubspot"], KEY, signing.Delivery("POST", sent, headers, b"[]"))


@pytest.mark.parametrize("vendor", [*UNSUBSCRIBES])
def test_a_genuine_delivery_is_taken_in_and_one_under_another_secret_is_not(box: Box, vendor):
    assert box.send(UNSUBSCRIBES[vendor](1, secret="some other secret of 16")) == 401
    assert box.events() == []
    assert box.send(UNSUBSCRIBES[vendor](1)) == 200
    assert [event["event_type"] for event in box.events()] == ["unsubscribe"]


@pytest.mark.parametrize("vendor", SIGNED)
def test_one_bit_changed_anywhere_in_what_is_signed_is_refused(vendor, tmp_path):
    box = Box(tmp_path, f"sqlite:///{tmp_path}/stores.sqlite")
    genuine = UNSUBSCRIBES[vendor](1)
    header = SIGNATURES[vendor]
    with box.serving():
        for at in range(0, len(genuine.body), 17):
            changed = bytearray(genuine.body)
            changed[at] ^= 1
            with_other_body = Request(genuine.path, bytes(changed), genuine.headers)
            with pytest.raises(signing.Refused, match="wrong signature"):
                signing.check(
                    VENDORS[vendor],
                    SECRETS[vendor].encode(),
                    signing.Delivery("POST", f"https://hooks.example.com/{vendor}", genuine.headers, bytes(changed)),
                )
        assert box.send(with_other_body) == 401
        signature = genuine.headers[header]
        other = ("1" if signature[0] == "0" else "0") + signature[1:]
        for wrong in (other, signature[:-1], signature + "=", signature.swapcase(), "é", " "):
            assert box.send(genuine.with_headers(**{header: wrong.encode()})) == 401, wrong
        assert box.send(genuine.with_headers(**{header: None})) == 401
    assert box.events() == []


@pytest.mark.parametrize("vendor", TIMED)
@pytest.mark.parametrize("minutes", [-5.1, 5.1, -60, 60])
def test_what_was_signed_too_long_ago_or_in_the_future_is_refused(box: Box, vendor, minutes):
    assert box.send(UNSUBSCRIBES[vendor](1, now=NOW + timedelta(minutes=minutes))) == 401
    assert box.events() == []


@pytest.mark.parametrize("vendor", TIMED)
@pytest.mark.parametrize("minutes", [-4.9, 4.9])
def test_clocks_may_differ_by_a_few_minutes(box: Box, vendor, minutes):
    assert box.send(UNSUBSCRIBES[vendor](1, now=NOW + timedelta(minutes=minutes))) == 200


@pytest.mark.parametrize("vendor", TIMED)
def test_a_fresh_timestamp_on_an_old_signature_is_refused(box: Box, vendor):
    old, fresh = UNSUBSCRIBES[vendor](1, now=NOW - timedelta(hours=1)), UNSUBSCRIBES[vendor](1)
    header = VENDORS[vendor].timestamp.header
    assert box.send(old.with_headers(**{header: fresh.headers[header]})) == 401
    for wrong in ("", "yesterday", "1e400", "-1", "9" * 40, "Thu, 99 Jan 2024 18:05:25 GMT", "04 Jan 2024"):
        assert box.send(fresh.with_headers(**{header: wrong})) == 401, wrong
    assert box.send(fresh.with_headers(**{header: None})) == 401


def test_hubspots_signature_is_over_the_public_address_and_not_over_ours(box: Box):
    assert box.send(hubspot(hubspot_change(1), public="http://testserver")) == 401
    assert box.send(hubspot(hubspot_change(1), public="https://hooks.example.com")) == 200


def test_a_delivery_of_another_webhook_than_it_says_is_refused(box: Box):
    genuine = klaviyo(klaviyo_event(1))
    assert box.send(genuine.with_headers(klaviyo_webhook_id="w-2")) == 400
    assert box.events() == []


def test_one_vendors_delivery_is_nothing_at_anothers_address(box: Box):
    genuine = UNSUBSCRIBES["salesforce"](1)
    assert box.send(Request("/klaviyo", genuine.body, genuine.headers)) == 401
    assert box.send(Request("/mailchimp", genuine.body, genuine.headers)) == 401
    assert box.send(Request("/sendgrid", genuine.body, genuine.headers)) == 404
    assert box.send(Request("/salesforce/extra", genuine.body, genuine.headers)) == 404
