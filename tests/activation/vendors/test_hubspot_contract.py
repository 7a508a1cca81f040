"""HubSpot's stand-in against HubSpot's own SDK, and against the document that is made from it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from conformity import check
from hubspot import HubSpot as Sdk
from hubspot.communication_preferences import PublicUpdateSubscriptionStatusRequest
from hubspot.communication_preferences.exceptions import ApiException as PreferencesRefused
from hubspot.crm import contacts, lists, properties
from hubspot.crm.contacts.exceptions import ApiException
from hubspot_account import ALL, Account, opened, operate, prepare_people, row
from hubspot_document import EVENTS, document, operations
from test_hubspot_faults import misspelled

from letterpress.demo.vendors.specification import Specification


@pytest.fixture
def account(clock) -> Iterator[Account]:
    with opened(clock=clock, has_limits=False) as account:
        account.app.specification = Specification(document())
        yield account
        assert account.app.complaints == []


@pytest.fixture
def sdk(account) -> Sdk:
    """The official client; every one of its parts takes the address from its configuration."""
    return Sdk(access_token=account.server.token, host=account.server.base_url)


def test_the_sdk_creates_properties_and_reads_them_back(account, sdk):
    unique = properties.PropertyCreate(
        name="letterpress_id",
        label="Letterpress",
        type="string",
        field_type="text",
        group_name="contactinformation",
        has_unique_value=True,
    )
    tier = properties.PropertyCreate(
        name="tier",
        label="Tier",
        type="enumeration",
        field_type="checkbox",
        group_name="contactinformation",
        options=[properties.OptionInput(label="Gold", value="gold", hidden=False)],
    )
    api = sdk.crm.properties
    given = properties.BatchInputPropertyCreate(inputs=[unique, tier])

    made = api.batch_api.create(object_type="contacts", batch_input_property_create=given)
    again, status, _ = api.batch_api.create_with_http_info(object_type="contacts", batch_input_property_create=given)
    options = [*tier.options, properties.OptionInput(label="Silver", value="silver", hidden=False)]
    update = properties.PropertyUpdate(options=options)
    changed = api.core_api.update(object_type="contacts", property_name="tier", property_update=update)

    assert [one.name for one in made.results] == ["letterpress_id", "tier"]
    assert made.results[0].has_unique_value
    assert (status, again.num_errors) == (207, 2)
    assert [option.value for option in changed.options] == ["gold", "silver"]
    assert api.core_api.get_by_name(object_type="contacts", property_name="tier").options == changed.options
    names = {one.name: one for one in api.core_api.get_all(object_type="contacts").results}
    assert names["hs_email_optout"].modification_metadata.read_only_value


def test_the_sdk_upserts_updates_and_reads_contacts(account, sdk):
    account.client.prepare({"decile": "number"}, [])
    api = sdk.crm.contacts

    def written(number: int, **values: str) -> Any:
        return contacts.SimplePublicObjectBatchInputUpsert(
            id=f"c-{number}", id_property="letterpress_id", properties=values, object_write_trace_id=str(number)
        )

    batch = contacts.BatchInputSimplePublicObjectBatchInputUpsert(
        inputs=[written(1, email="Ada@shop.example", decile="7"), written(2, decile="seven")]
    )
    answer, status, _ = api.batch_api.upsert_with_http_info(batch)
    record = answer.results[0]
    change = contacts.SimplePublicObjectInput(properties={"firstname": "Ada"})
    changed = api.basic_api.update(contact_id=record.id, simple_public_object_input=change)
    many = contacts.BatchInputSimplePublicObjectBatchInput(
        inputs=[contacts.SimplePublicObjectBatchInput(id=record.id, properties={"decile": ""})]
    )
    cleared = api.batch_api.update(many)
    wanted = contacts.BatchReadInputSimplePublicObjectId(
        inputs=[contacts.SimplePublicObjectId(id="c-1"), contacts.SimplePublicObjectId(id="c-9")],
        id_property="letterpress_id",
        properties=["firstname", "decile"],
        properties_with_history=["decile"],
    )
    read, read_status, _ = api.batch_api.read_with_http_info(wanted)

    assert (status, read_status) == (207, 207)
    assert isinstance(answer, contacts.BatchResponseSimplePublicUpsertObjectWithErrors)
    assert (record.new, record.properties["email"], record.object_write_trace_id) == (True, "ada@shop.example", "1")
    assert answer.num_errors == 1
    assert answer.errors[0].context == {"objectWriteTraceId": ["2"]}
    assert answer.errors[0].errors[0].code == "INVALID_NUMBER"
    assert changed.properties["firstname"] == "Ada"
    assert changed.updated_at == datetime.fromtimestamp(account.app.clock(), UTC)
    assert cleared.results[0].properties["decile"] is None
    assert read.results[0].properties["firstname"] == "Ada"
    assert [one.value for one in read.results[0].properties_with_history["decile"]] == ["", "7"]
    assert read.errors[0].context == {"ids": ["c-9"]}


def test_the_sdk_searches_merges_archives_and_erases_contacts(account, sdk):
    account.client.prepare({}, [])
    ids = account.upsert(*(row(f"c-{n}") for n in range(1, 6))).vendor_ids
    account.app.bounce("c-1@shop.example")
    api = sdk.crm.contacts
    bounced = contacts.Filter(property_name="hs_email_hard_bounce_reason_enum", operator="HAS_PROPERTY")
    found = api.search_api.do_search(
        contacts.PublicObjectSearchRequest(
            filter_groups=[contacts.FilterGroup(filters=[bounced])],
            sorts=["hs_object_id"],
            properties=["email"],
            limit=10,
        )
    )
    page = api.search_api.do_search(contacts.PublicObjectSearchRequest(limit=2))
    merged = api.basic_api.merge(contacts.PublicMergeInput(primary_object_id=ids["c-1"], object_id_to_merge=ids["c-2"]))
    api.batch_api.archive(
        contacts.BatchInputSimplePublicObjectId(inputs=[contacts.SimplePublicObjectId(id=ids["c-3"])])
    )
    api.basic_api.purge(contacts.PublicGdprDeleteInput(object_id=ids["c-4"]))
    api.basic_api.purge(contacts.PublicGdprDeleteInput(object_id="c-5@shop.example", id_property="email"))

    assert [one.properties["email"] for one in found.results] == ["c-1@shop.example"]
    assert (found.total, found.paging) == (1, None)
    assert (len(page.results), page.total, page.paging.next.after) == (2, 5, "2")
    assert merged.id not in (ids["c-1"], ids["c-2"])
    assert [one["id"] for one in account.app.contacts] == [merged.id]
    with pytest.raises(ApiException) as refused:
        api.basic_api.purge(contacts.PublicGdprDeleteInput(object_id=ids["c-4"]))
    assert refused.value.status == 404


def test_the_sdk_changes_and_reads_a_list(account, sdk):
    account.client.prepare({}, [])
    list_id = account.app.add_list("Champions")
    record = account.upsert(row("c-1")).vendor_ids["c-1"]
    api = sdk.crm.lists

    def change(added: list[str], removed: list[str]) -> lists.MembershipsUpdateResponse:
        body = lists.MembershipChangeRequest(record_ids_to_add=added, record_ids_to_remove=removed)
        return api.memberships_api.add_and_remove(list_id=list_id, membership_change_request=body)

    added, found = change([record, "5"], []), api.memberships_api.get_page(list_id=list_id)
    removed = change([], [record])

    assert (added.records_ids_added, added.record_ids_missing) == ([record], ["5"])
    assert [one.record_id for one in found.results] == [record]
    assert removed.record_ids_removed == [record]
    shown = api.lists_api.get_by_id(list_id=list_id).list
    assert (shown.name, shown.processing_type, shown.object_type_id, shown.size) == ("Champions", "MANUAL", "0-1", 0)


def test_the_sdk_sets_and_reads_consent(account, sdk):
    api = sdk.communication_preferences
    body = PublicUpdateSubscriptionStatusRequest(
        email_address="ada@shop.example",
        subscription_id="101",
        legal_basis="CONSENT_WITH_NOTICE",
        legal_basis_explanation="a proof",
    )

    subscribed = api.status_api.subscribe(body)
    ended = api.status_api.unsubscribe(body)

    assert (subscribed.status, subscribed.legal_basis, ended.status) == (
        "SUBSCRIBED",
        "CONSENT_WITH_NOTICE",
        "NOT_SUBSCRIBED",
    )
    with pytest.raises(PreferencesRefused, match="because they have unsubscribed"):
        api.status_api.subscribe(body)
    statuses = api.status_api.get_email_status(email_address="ada@shop.example")
    assert statuses.recipient == "ada@shop.example"
    assert [one.id for one in api.definition_api.get_page().subscription_definitions] == [
        one.id for one in statuses.subscription_statuses
    ]


def test_the_sdk_sends_what_the_client_sends(account, sdk):
    account.client.prepare({"decile": "number"}, [])
    account.requests.clear()
    account.upsert(row("c-1", decile="7"))
    ours = next(body for _, path, body in account.requests if path.endswith("/upsert"))
    account.requests.clear()
    written = contacts.SimplePublicObjectBatchInputUpsert(
        id="c-1",
        id_property="letterpress_id",
        properties={"email": "c-1@shop.example", "decile": "7"},
        object_write_trace_id="0",
    )

    sdk.crm.contacts.batch_api.upsert(contacts.BatchInputSimplePublicObjectBatchInputUpsert(inputs=[written]))

    assert account.requests == [("POST", "/crm/v3/objects/contacts/batch/upsert", ours)]


def test_every_operation_of_the_stand_in_is_in_the_document_and_every_one_in_it_is_served(account):
    served = {(one.method.lower(), one.template) for one in account.app._routes}

    assert served == set(operations())


def test_what_is_misspelled_the_document_refuses_too(account):
    specification, list_id_and_ids = account.app.specification, prepare_people(account)
    for operation in ALL:
        operate(account, operation, *list_id_and_ids)
    free = {"properties"}  # names of properties are any: those the stand-in itself refuses
    refused = 0
    for method, path, body in account.requests:
        assert specification.request_errors(method, path, body) == [] or body is None
        for renamed, wrong in misspelled(body):
            if not _is_within(body, renamed.removesuffix("x"), free):
                assert specification.request_errors(method, path, wrong), (path, wrong)
                refused += 1

    assert refused > 100


def test_what_became_of_mails_is_told_page_by_page_the_latest_first(account, clock):
    account.app.open("ada@shop.example", campaign=7)
    clock.pause(60)
    account.app.click("ada@shop.example", campaign=7)
    account.app.open("bob@shop.example", campaign=8)

    def page(**params: Any) -> dict[str, Any]:
        return account.http.get(EVENTS, params=params).json()

    first = page(limit=2)
    second = page(limit=2, offset=first["offset"])

    assert [(one["type"], one["recipient"]) for one in first["events"] + second["events"]] == [
        ("OPEN", "bob@shop.example"),
        ("CLICK", "ada@shop.example"),
        ("OPEN", "ada@shop.example"),
    ]
    assert (first["hasMore"], second["hasMore"]) == (True, False)
    assert [one["emailCampaignId"] for one in page(eventType="OPEN")["events"]] == [8, 7]
    assert len(page(startTimestamp=round(clock() * 1_000))["events"]) == 2
    assert len(page(recipient="ada@shop.example")["events"]) == 2
    assert account.http.get(EVENTS, params={"limit": 1_001}).status_code == 400
    assert account.http.get(EVENTS, params={"eventType": "OPENED"}).status_code == 400


@pytest.mark.slow
def test_the_stand_in_alone_is_as_strict_as_the_document(clock):
    with opened(clock=clock, has_limits=False) as account:
        list_id, ids = prepare_people(account)
        known = {
            "/crm/v3/objects/contacts/{contactId}": {"contactId": ids["c-1"]},
            "/crm/v3/properties/{objectType}": {"objectType": "contacts"},
            "/crm/v3/properties/{objectType}/batch/create": {"objectType": "contacts"},
            "/crm/v3/properties/{objectType}/{propertyName}": {"objectType": "contacts", "propertyName": "loyalty"},
            "/communication-preferences/v3/status/email/{emailAddress}": {"emailAddress": "c-1@shop.example"},
            "/crm/v3/lists/{listId}": {"listId": list_id},
            "/crm/v3/lists/{listId}/memberships": {"listId": list_id},
            "/crm/v3/lists/{listId}/memberships/add-and-remove": {"listId": list_id},
        }
        headers = {"Authorization": f"Bearer {account.server.token}"}
        account.requests.clear()

        check(account.server.base_url, document(), operations(), headers, examples=10, identifiers=known)

        assert len(account.requests) > 10 * len(operations())


def _is_within(node: Any, name: str, free: set[str], *, is_free: bool = False) -> bool:
    """Whether a key stands below one of these, where any key is allowed."""
    if isinstance(node, dict):
        return any(
            (is_free and key == name) or _is_within(value, name, free, is_free=key in free and isinstance(value, dict))
            for key, value in node.items()
        )
    return isinstance(node, list) and any(_is_within(one, name, free, is_free=is_free) for one in node)
