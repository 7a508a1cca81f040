"""The stand-in for Braze is held to the community's OpenAPI document; that document to Braze's recorded answers."""

import json

import httpx
import pytest
from braze_workspace import address, person, send, workspace
from conformity import check

from letterpress.activation.destinations.spec import Operation, Row
from letterpress.demo.vendors.braze import Braze
from letterpress.demo.vendors.braze_requests import corrected

OPERATIONS = [
    ("POST", "/users/track"),
    ("POST", "/users/delete"),
    ("POST", "/users/merge"),
    ("POST", "/users/external_ids/rename"),
    ("POST", "/users/external_ids/remove"),
    ("POST", "/users/export/ids"),
    ("POST", "/email/status"),
    ("POST", "/email/blocklist"),
    ("GET", "/email/unsubscribes"),
    ("GET", "/email/hard_bounces"),
]


@pytest.fixture(scope="session")
def document(specifications):
    return json.loads((specifications / Braze.specification_file).read_text(encoding="utf-8"))


def test_every_operation_of_the_stand_in_is_one_of_the_document(document):
    kept = {getattr(Braze, name).route for name in dir(Braze) if hasattr(getattr(Braze, name), "route")}
    assert {(one.method, one.template) for one in kept} == set(OPERATIONS)
    for method, path in OPERATIONS:
        assert method.lower() in document["paths"][path]


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation[1])
def test_generated_requests_find_nothing_that_the_document_does_not_say(document, operation):
    with workspace(has_limits=False) as (vendor, _):
        headers = {"Authorization": f"Bearer {vendor.token}"}
        check(vendor.base_url, corrected(document), [operation], headers)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/track", {"attributes": {"external_id": "c-1"}}),
        ("/users/track", {"attributes": ["c-1"]}),
        ("/users/delete", {"external_ids": "c-1"}),
        ("/users/merge", {"merge_updates": ["c-1"]}),
        ("/users/external_ids/rename", {"external_id_renames": [{"current_external_id": 1, "new_external_id": "2"}]}),
        ("/users/external_ids/remove", {"external_ids": [1]}),
        ("/users/export/ids", {"external_ids": ["c-1"], "fields_to_export": "email"}),
        ("/email/status", {"email": 1, "subscription_state": "opted_in"}),
        ("/email/blocklist", {"email": {}}),
    ],
)
def test_what_the_document_refuses_the_stand_in_refuses_with_it_and_alone(held_to, path, body):
    with workspace(specifications=held_to) as (vendor, _):
        answer = httpx.post(vendor.base_url + path, json=body, headers={"Authorization": f"Bearer {vendor.token}"})
        assert answer.status_code == 400
        assert answer.json()["message"]


@pytest.mark.parametrize("email", [address("c-1"), [address("c-1"), address("c-2")]])
@pytest.mark.parametrize("path", ["/email/status", "/email/blocklist"])
def test_addresses_may_be_one_or_several_as_the_description_says_and_the_schema_does_not(specifications, path, email):
    with workspace(specifications=specifications) as (vendor, _):
        body = {"email": email, **({"subscription_state": "opted_in"} if path == "/email/status" else {})}
        answer = httpx.post(vendor.base_url + path, json=body, headers={"Authorization": f"Bearer {vendor.token}"})
        assert (answer.status_code, answer.json()) == (201, {"message": "success"})


def test_answers_have_the_form_that_was_recorded_from_braze(specifications):
    """The fields of answers that the public tests of the Ruby client ``braze_ruby`` recorded, which no schema has."""
    with workspace(specifications=specifications) as (vendor, client):
        send(client, Operation.UPSERT, person("abc"))

        def post(path, body):
            headers = {"Authorization": f"Bearer {vendor.token}"}
            answer = httpx.post(vendor.base_url + path, json=body, headers=headers)
            assert answer.status_code == 201
            return answer.json()

        renames = [{"current_external_id": "abc", "new_external_id": "foo"}]
        assert post("/users/external_ids/rename", {"external_id_renames": renames}) == {
            "rename_errors": [],
            "external_ids": renames,
            "message": "success",
        }
        assert post("/users/external_ids/remove", {"external_ids": ["abc"]}) == {
            "removed_ids": ["abc"],
            "removal_errors": [],
            "message": "success",
        }
        exported = post("/users/export/ids", {"external_ids": ["foo", "x"], "fields_to_export": ["external_id"]})
        assert exported == {"users": [{"external_id": "foo"}], "invalid_user_ids": ["x"], "message": "success"}
        assert post("/users/delete", {"external_ids": ["400"]}) == {
            "invalid_user_ids": ["400"],
            "deleted": 0,
            "message": "success",
        }
        objects = [{"external_id": "one", "orders": 1}, {"orders": 1}]
        assert post("/users/track", {"attributes": objects})["errors"] == [
            {
                "type": "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required",
                "input_array": "attributes",
                "index": 1,
            }
        ]
        send(client, Operation.SUPPRESS, Row("one", email="one@example.com", reason="unsubscribed"))
        listed = httpx.get(
            vendor.base_url + "/email/unsubscribes",
            params={"start_date": "2020-01-01", "end_date": "2100-01-01"},
            headers={"Authorization": f"Bearer {vendor.token}"},
        ).json()
        assert [*listed] == ["emails", "message"]
        assert listed["emails"][0]["unsubscribed_at"].endswith(" +0000")
