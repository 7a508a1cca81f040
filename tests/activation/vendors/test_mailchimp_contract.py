"""Mailchimp's stand-in is held to the vendor's specification, and called by the vendor's own SDK."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mailchimp_marketing
import pytest
from conformity import check
from mailchimp_marketing.api_client import ApiClientError

from letterpress.demo.vendors import RunningVendor, running
from letterpress.demo.vendors.mailchimp_audience import LIST_ID, subscriber_hash

KEY = "not-a-real-key-us6"
ANNA, BEN = "anna@example.com", "ben@example.com"
OPERATIONS = [
    ("GET", "/ping"),
    ("POST", "/lists/{list_id}"),
    ("GET", "/lists/{list_id}/members"),
    ("GET", "/lists/{list_id}/members/{subscriber_hash}"),
    ("PATCH", "/lists/{list_id}/members/{subscriber_hash}"),
    ("DELETE", "/lists/{list_id}/members/{subscriber_hash}"),
    ("POST", "/lists/{list_id}/members/{subscriber_hash}/actions/delete-permanent"),
    ("GET", "/lists/{list_id}/merge-fields"),
    ("POST", "/lists/{list_id}/merge-fields"),
    ("GET", "/lists/{list_id}/segments"),
    ("POST", "/lists/{list_id}/segments/{segment_id}"),
    ("DELETE", "/lists/{list_id}/segments/{segment_id}/members/{subscriber_hash}"),
    ("GET", "/lists/{list_id}/abuse-reports"),
    ("GET", "/reports/{campaign_id}/email-activity"),
]


@pytest.fixture
def vendor(specifications: Path) -> Iterator[RunningVendor]:
    with running("mailchimp", specifications=specifications, token=KEY) as server:
        yield server
        assert server.app.complaints == []


@pytest.fixture
def sdk(vendor: RunningVendor) -> mailchimp_marketing.Client:
    return sdk_of(vendor)


def sdk_of(vendor: RunningVendor) -> mailchimp_marketing.Client:
    client = mailchimp_marketing.Client({"api_key": KEY})
    client.api_client.host = f"{vendor.base_url}/3.0"
    return client


def members(*emails: str) -> dict[str, Any]:
    return {"members": [{"email_address": email, "status": "subscribed"} for email in emails], "update_existing": True}


def test_every_operation_of_the_stand_in_is_one_of_the_vendor_s_and_is_tried_here(vendor):
    served = {(one.method, one.template.removeprefix("/3.0")) for one in vendor.app._routes}
    assert served == set(OPERATIONS)
    assert all(vendor.app.specification.find(method, f"/3.0{path}") for method, path in OPERATIONS)


def test_the_vendor_s_sdk_writes_and_reads_members(vendor, sdk):
    answer = sdk.lists.batch_list_members(LIST_ID, members(ANNA, BEN), skip_merge_validation=True)
    assert (answer["total_created"], answer["error_count"]) == (2, 0)
    assert {one["id"] for one in answer["new_members"]} == {subscriber_hash(ANNA), subscriber_hash(BEN)}
    answer = sdk.lists.batch_list_members(LIST_ID, members(ANNA, "anna@nowhere.invalid"))
    assert [one["email_address"] for one in answer["updated_members"]] == [ANNA]
    assert answer["errors"][0]["error_code"] == "ERROR_GENERIC"
    found = sdk.lists.get_list_members_info(LIST_ID, count=1, sort_field="last_changed", fields=["members.id"])
    assert list(found) == ["members"]
    assert list(found["members"][0]) == ["id"]
    assert sdk.lists.get_list_member(LIST_ID, ANNA)["status"] == "subscribed"


def test_the_vendor_s_sdk_changes_archives_and_erases_a_member(vendor, sdk):
    sdk.lists.batch_list_members(LIST_ID, members(ANNA, BEN))
    changed = sdk.lists.update_list_member(LIST_ID, subscriber_hash(ANNA), {"merge_fields": {"FNAME": "Anna"}})
    assert changed["merge_fields"]["FNAME"] == "Anna"
    assert sdk.lists.delete_list_member(LIST_ID, subscriber_hash(ANNA)).status_code == 204
    assert sdk.lists.delete_list_member_permanent(LIST_ID, subscriber_hash(BEN)).status_code == 204
    assert (vendor.app.member(ANNA)["status"], vendor.app.member(BEN)) == ("archived", None)
    with pytest.raises(ApiClientError) as refused:
        sdk.lists.get_list_member(LIST_ID, subscriber_hash(BEN))
    assert refused.value.status_code == 404


def test_the_vendor_s_sdk_makes_merge_fields(vendor, sdk):
    field = sdk.lists.add_list_merge_field(LIST_ID, {"tag": "RFM", "name": "RFM", "type": "text", "public": False})
    assert (field["tag"], field["type"], field["merge_id"]) == ("RFM", "text", 5)
    fields = sdk.lists.get_list_merge_fields(LIST_ID, count=100)
    assert [one["tag"] for one in fields["merge_fields"]] == ["FNAME", "LNAME", "ADDRESS", "PHONE", "RFM"]
    assert fields["total_items"] == 5


def test_the_vendor_s_sdk_tags_members(vendor, sdk):
    tag = vendor.app.add_tag("VIP")
    sdk.lists.batch_list_members(LIST_ID, members(ANNA))
    (segment,) = sdk.lists.list_segments(LIST_ID, type="static")["segments"]
    assert (str(segment["id"]), segment["name"], segment["member_count"]) == (tag, "VIP", 0)
    answer = sdk.lists.batch_segment_members({"members_to_add": [ANNA, BEN]}, LIST_ID, tag)
    assert (answer["total_added"], answer["errors"][0]["email_addresses"]) == (1, [BEN])
    assert sdk.lists.get_list_member(LIST_ID, ANNA)["tags"] == [{"id": int(tag), "name": "VIP"}]
    assert sdk.lists.remove_segment_member(LIST_ID, tag, subscriber_hash(ANNA)).status_code == 204
    assert vendor.app.tagged(tag) == set()


def test_the_vendor_s_sdk_reads_complaints_and_activity(vendor, sdk):
    sdk.lists.batch_list_members(LIST_ID, members(ANNA, BEN))
    vendor.app.complain(ANNA, "news")
    vendor.app.open(BEN, "news")
    vendor.app.click(BEN, "https://shop.example.com/", "news")
    (report,) = sdk.lists.get_list_abuse_reports(LIST_ID)["abuse_reports"]
    assert (report["email_address"], report["campaign_id"]) == (ANNA, "news")
    (person,) = sdk.reports.get_email_activity_for_campaign("news")["emails"]
    assert (person["email_address"], [done["action"] for done in person["activity"]]) == (BEN, ["open", "click"])
    assert sdk.ping.get()["health_status"] == "Everything's Chimpy!"


def test_the_vendor_s_sdk_is_told_of_wrong_credentials(vendor):
    client = sdk_of(vendor)
    client.set_config({"api_key": "not-it-us6"})
    with pytest.raises(ApiClientError) as refused:
        client.ping.get()
    assert refused.value.status_code == 401


@pytest.mark.parametrize("given", [{"members": "anna"}, {"members": [{"status": "member"}]}, {}, []])
def test_what_the_specification_refuses_is_refused(vendor, given):
    path = f"/3.0/lists/{LIST_ID}"
    assert vendor.app.specification.request_errors("POST", path, given)
    assert httpx.post(f"{vendor.base_url}{path}", json=given, auth=("anybody", KEY)).status_code == 400


@pytest.mark.slow
def test_generated_requests_find_nothing_that_is_not_in_the_specification(specifications):
    """Without the specification at hand: what it forbids, the stand-in's own checks refuse."""
    document = json.loads((specifications / "mailchimp/marketing-3.0.55.json").read_text(encoding="utf-8"))
    with running("mailchimp", token=KEY, has_limits=False) as vendor:
        sdk_of(vendor).lists.batch_list_members(LIST_ID, members(ANNA, BEN))
        vendor.app.bounce(BEN, "news")
        known = {
            "list_id": LIST_ID,
            "subscriber_hash": subscriber_hash(ANNA),
            "segment_id": vendor.app.add_tag("VIP"),
            "campaign_id": "news",
        }
        identifiers = {
            path: {name: value for name, value in known.items() if f"{{{name}}}" in path} for _, path in OPERATIONS
        }
        headers = {"Authorization": f"Bearer {KEY}"}
        check(f"{vendor.base_url}/3.0", document, OPERATIONS, headers, examples=10, identifiers=identifiers)
        answered = {status for _, _, status in vendor.app.calls}
    assert {200, 204, 400} <= answered
