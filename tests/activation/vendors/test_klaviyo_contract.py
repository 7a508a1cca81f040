"""Klaviyo's stand-in is held to what Klaviyo publishes: its specification, its own SDK, and generated requests."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from conformity import check
from klaviyo_api import KlaviyoAPI
from klaviyo_line import KEY, connected, person

from letterpress.activation.destinations import klaviyo
from letterpress.activation.destinations.spec import Operation
from letterpress.demo.vendors import klaviyo as stand_in
from letterpress.demo.vendors import running

OPERATIONS = [
    ("POST", "/api/profile-bulk-import-jobs"),
    ("GET", "/api/profile-bulk-import-jobs"),
    ("GET", "/api/profile-bulk-import-jobs/{job_id}"),
    ("GET", "/api/profile-bulk-import-jobs/{id}/import-errors"),
    ("POST", "/api/profile-suppression-bulk-create-jobs"),
    ("GET", "/api/profile-suppression-bulk-create-jobs/{job_id}"),
    ("POST", "/api/profile-subscription-bulk-create-jobs"),
    ("POST", "/api/profile-subscription-bulk-delete-jobs"),
    ("GET", "/api/lists/{id}"),
    ("GET", "/api/lists/{id}/relationships/profiles"),
    ("POST", "/api/lists/{id}/relationships/profiles"),
    ("DELETE", "/api/lists/{id}/relationships/profiles"),
    ("POST", "/api/data-privacy-deletion-jobs"),
    ("GET", "/api/profiles"),
    ("GET", "/api/profiles/{id}"),
    ("PATCH", "/api/profiles/{id}"),
    ("POST", "/api/profile-import"),
    ("POST", "/api/profile-merge"),
    ("GET", "/api/events"),
    ("GET", "/api/metrics"),
]
# Their bodies have so many parts that each generated one takes a third of a second.
LARGE = [
    ("POST", "/api/profile-subscription-bulk-create-jobs"),
    ("POST", "/api/profile-subscription-bulk-delete-jobs"),
]


@pytest.fixture(scope="session")
def document(specifications) -> dict:
    return json.loads((specifications / stand_in.STAND_IN.specification_file).read_text(encoding="utf-8"))


def filled(app) -> dict[str, str]:
    """Somebody, a list and both kinds of jobs at a stand-in: the ids of each."""
    with klaviyo.open_client(klaviyo.Connection(app.base_url, KEY), klaviyo.Options()) as client:
        rows = [person(1, attributes={"orders": 1}), person(2), person(3, email="x@nowhere")]
        job = client.send(Operation.UPSERT, rows, key="k", list_id=None)
        suppression = client.send(Operation.SUPPRESS, [person(2, reason="bounced")], key="k", list_id=None)
        list_id = app.app.add_list("Champions")
        client.send(Operation.JOIN, rows[:2], key="k", list_id=list_id)
    app.app.deliver("person1@example.com", "Spring")
    app.app.open("person1@example.com", "Spring")
    profile = app.app.profile("person1@example.com")["id"]
    return {"job": job.job_id, "suppression": suppression.job_id, "list": list_id, "profile": profile}


def test_the_stand_in_s_operations_and_limits_are_those_of_the_specification(document):
    routes = {(one.method, one.template): one.limits for one in stand_in.STAND_IN()._routes}
    assert set(routes) == set(OPERATIONS)
    for (method, template), limits in routes.items():
        rate = document["paths"][template][method.lower()]["x-klaviyo-ratelimit"]
        burst, steady = (int(rate[name].partition("/")[0]) for name in ("burst", "steady"))
        assert limits == ((burst, 1.0), (steady, 60.0)), (method, template)


def test_the_module_keeps_to_the_limits_of_the_specification(document):
    used = {
        Operation.SUPPRESS: ("post", "/api/profile-suppression-bulk-create-jobs"),
        Operation.ERASE: ("post", "/api/data-privacy-deletion-jobs"),
        Operation.MOVE: ("patch", "/api/profiles/{id}"),
        Operation.LEAVE: ("delete", "/api/lists/{id}/relationships/profiles"),
        Operation.SUBSCRIBE: ("post", "/api/profile-subscription-bulk-create-jobs"),
        Operation.UPSERT: ("post", "/api/profile-bulk-import-jobs"),
        Operation.JOIN: ("post", "/api/lists/{id}/relationships/profiles"),
        "clear": ("post", "/api/profile-import"),
        "unsubscribe": ("post", "/api/profile-subscription-bulk-delete-jobs"),
        "merge": ("post", "/api/profile-merge"),
        "read": ("get", "/api/profiles"),
        "list": ("get", "/api/lists/{id}"),
        "imports": ("get", "/api/profile-bulk-import-jobs"),
        "import": ("get", "/api/profile-bulk-import-jobs/{job_id}"),
        "import errors": ("get", "/api/profile-bulk-import-jobs/{id}/import-errors"),
        "suppression": ("get", "/api/profile-suppression-bulk-create-jobs/{job_id}"),
    }
    assert set(used) == set(klaviyo.ENDPOINTS)
    for name, (method, template) in used.items():
        rate = document["paths"][template][method]["x-klaviyo-ratelimit"]
        limits = [f"{limit.requests}/{'s' if limit.seconds == 1 else 'm'}" for limit in klaviyo.ENDPOINTS[name].limits]
        assert limits == [rate["burst"], rate["steady"]], name


def test_the_caps_are_those_that_the_specification_describes(document):
    def described(method: str, template: str) -> str:
        return document["paths"][template][method]["description"]

    caps = klaviyo.ENDPOINTS
    text = described("post", "/api/profile-bulk-import-jobs")
    assert f"up to {caps[Operation.UPSERT].rows:,} profiles" in text
    assert "payload size is 5MB" in text
    assert f"per-profile is {caps[Operation.UPSERT].row_bytes // 1_000}KB" in text
    text = described("post", "/api/profile-suppression-bulk-create-jobs")
    assert f"per request limit: {caps[Operation.SUPPRESS].rows}" in text
    text = described("post", "/api/profile-subscription-bulk-create-jobs")
    assert f"for subscription: {caps[Operation.SUBSCRIBE].rows}" in text
    text = described("post", "/api/profile-subscription-bulk-delete-jobs")
    assert f"profiles per call: {caps['unsubscribe'].rows}" in text
    for method, operation in (("post", Operation.JOIN), ("delete", Operation.LEAVE)):
        text = described(method, "/api/lists/{id}/relationships/profiles")
        assert f"maximum of {caps[operation].rows} profiles" in text


@pytest.mark.slow
def test_the_stand_in_does_what_the_specification_says_whatever_is_asked(clock, document):
    with running("klaviyo", clock=clock, has_limits=False) as vendor:
        ids = filled(vendor)
        identifiers = {
            "/api/profile-bulk-import-jobs/{job_id}": {"job_id": ids["job"]},
            "/api/profile-bulk-import-jobs/{id}/import-errors": {"id": ids["job"]},
            "/api/profile-suppression-bulk-create-jobs/{job_id}": {"job_id": ids["suppression"]},
            "/api/lists/{id}": {"id": ids["list"]},
            "/api/lists/{id}/relationships/profiles": {"id": ids["list"]},
            "/api/profiles/{id}": {"id": ids["profile"]},
        }
        headers = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": klaviyo.REVISION}
        given = {"headers": headers, "identifiers": identifiers}
        check(vendor.base_url, document, [one for one in OPERATIONS if one not in LARGE], examples=8, **given)
        check(vendor.base_url, document, LARGE, examples=3, **given)


@pytest.fixture
def sdk(clock, held_to):
    """Klaviyo's own SDK on the stand-in."""
    with connected(clock, held_to, job_seconds=0.0) as line:
        yield line, filled(line.vendor), KlaviyoAPI(KEY, max_retries=0, test_host=line.vendor.base_url)


def cursor_of(page) -> str:
    """Where the next page begins: the SDK finds it in links of https alone."""
    return parse_qs(urlsplit(page.links.next).query)["page[cursor]"][0]


def resource(kind: str, attributes: dict, **more) -> dict:
    return {"data": {"type": kind, "attributes": attributes, **more}}


def test_the_sdk_imports_and_reads_jobs(sdk, clock):
    line, ids, api = sdk
    clock.advance(60)
    profiles = {"data": [{"type": "profile", "attributes": {"email": "new@example.com", "external_id": "N1"}}]}
    queued = api.Profiles.bulk_import_profiles(resource("profile-bulk-import-job", {"profiles": profiles}))
    assert (queued.data.type, queued.data.attributes.total_count) == ("profile-bulk-import-job", 1)
    job = api.Profiles.get_bulk_import_profiles_job(queued.data.id).data.attributes
    assert (job.status, job.completed_count, job.failed_count) == ("complete", 1, 0)
    assert line.app.profile("new@example.com")["external_id"] == "N1"
    (error,) = api.Profiles.get_errors_for_bulk_import_profiles_job(ids["job"]).data
    assert (error.attributes.code, error.attributes.source.pointer) == (
        "invalid",
        "/data/attributes/profiles/data/2/attributes/email",
    )
    jobs = api.Profiles.get_bulk_import_profiles_jobs(filter='equals(status,"complete")', sort="-created_at")
    assert [job.id for job in jobs.data] == [queued.data.id, ids["job"]]
    suppression = api.Profiles.get_bulk_suppress_profiles_job(ids["suppression"]).data.attributes
    assert (suppression.status, suppression.skipped_count) == ("complete", 0)


def test_the_sdk_records_consent_and_its_end(sdk):
    line, _, api = sdk
    email = {"email": "person1@example.com"}
    consent = {"consent": "SUBSCRIBED", "consented_at": datetime(2024, 5, 1, tzinfo=UTC).isoformat()}
    subscribed = {**email, "subscriptions": {"email": {"marketing": consent}}}
    one = {"data": [{"type": "profile", "attributes": subscribed}]}
    attributes = {"profiles": one, "historical_import": True}
    assert api.Profiles.bulk_subscribe_profiles(resource("profile-subscription-bulk-create-job", attributes)) is None
    assert line.profile(1)["marketing"]["consent"] == "SUBSCRIBED"
    withdrawn = {**email, "subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}}
    one = {"data": [{"type": "profile", "attributes": withdrawn}]}
    body = resource("profile-subscription-bulk-delete-job", {"profiles": one})
    assert api.Profiles.bulk_unsubscribe_profiles(body) is None
    assert line.reasons(1) == ["UNSUBSCRIBE"]
    one = {"data": [{"type": "profile", "attributes": email}]}
    queued = api.Profiles.bulk_suppress_profiles(resource("profile-suppression-bulk-create-job", {"profiles": one}))
    assert queued.data.attributes.total_count == 1
    assert line.reasons(1) == ["UNSUBSCRIBE", "USER_SUPPRESSED"]


def test_the_sdk_writes_and_reads_profiles(sdk):
    line, ids, api = sdk
    attributes = {
        "external_id": "C1",
        "first_name": "Anna",
        "properties": {"tier": "gold"},
        "location": {"city": "Ulm"},
    }
    written = api.Profiles.create_or_update_profile(resource("profile", attributes))
    assert (written.data.id, written.data.attributes.first_name) == (ids["profile"], "Anna")
    changed = resource("profile", {"first_name": None, "last_name": "Berg"}, id=ids["profile"])
    assert api.Profiles.update_profile(ids["profile"], changed).data.attributes.last_name == "Berg"
    read = api.Profiles.get_profile(ids["profile"], additional_fields_profile=["subscriptions"]).data.attributes
    assert (read.first_name, read.location.city, read.properties) == (None, "Ulm", {"orders": 1, "tier": "gold"})
    assert read.subscriptions.email.marketing.can_receive_email_marketing
    found = api.Profiles.get_profiles(
        filter="greater-or-equal(subscriptions.email.marketing.suppression.timestamp,2020-01-01T00:00:00Z)",
        sort="subscriptions.email.marketing.suppression.timestamp",
        additional_fields_profile=["subscriptions"],
        page_size=1,
    )
    (suppressed,) = found.data
    assert suppressed.attributes.external_id == "C2"
    assert suppressed.attributes.subscriptions.email.marketing.suppression[0].reason == "USER_SUPPRESSED"
    pages = api.Profiles.get_profiles(page_size=1)
    again = api.Profiles.get_profiles(page_size=1, page_cursor=cursor_of(pages))
    assert {pages.data[0].attributes.external_id, again.data[0].attributes.external_id} == {"C1", "C2"}
    sources = {"profiles": {"data": [{"type": "profile", "id": line.profile(2)["id"]}]}}
    merge = {"data": {"type": "profile-merge", "id": ids["profile"], "relationships": sources}}
    assert api.Profiles.merge_profiles(merge).data.id == ids["profile"]
    assert line.profile(2) is None
    erasure = {"profile": {"data": {"type": "profile", "id": ids["profile"], "attributes": {}}}}
    assert api.Data_Privacy.request_profile_deletion(resource("data-privacy-deletion-job", erasure)) is None
    assert line.profile(1) is None


def test_the_sdk_keeps_lists(sdk):
    line, ids, api = sdk
    assert api.Lists.get_list(ids["list"]).data.attributes.name == "Champions"
    members = api.Lists.get_profile_ids_for_list(ids["list"])
    assert [one.id for one in members.data] == [line.profile(1)["id"], line.profile(2)["id"]]
    body = {"data": [{"type": "profile", "id": ids["profile"]}]}
    assert api.Lists.remove_profiles_from_list(ids["list"], body) is None
    assert len(api.Lists.get_profile_ids_for_list(ids["list"]).data) == 1
    assert api.Lists.add_profiles_to_list(ids["list"], body) is None
    assert len(api.Lists.get_profile_ids_for_list(ids["list"]).data) == 2


def test_the_sdk_reads_what_happened_to_a_mail(sdk, clock):
    line, ids, api = sdk
    begin = datetime.fromtimestamp(clock.now(), UTC)
    clock.advance(60)
    line.app.click("person1@example.com", "Spring", "https://shop.example.com/tea")
    line.app.unsubscribe("person1@example.com")
    line.app.bounce("person2@example.com")
    line.app.complain("person2@example.com")
    names = {metric.id: metric.attributes.name for metric in api.Metrics.get_metrics().data}
    since = f"greater-than(datetime,{begin:%Y-%m-%dT%H:%M:%SZ})"
    found = api.Events.get_events(filter=since, sort="datetime", include=["metric", "profile"])
    assert [names[event.relationships.metric.data.id] for event in found.data] == [
        "Clicked Email",
        "Unsubscribed from Email Marketing",
        "Bounced Email",
        "Marked Email as Spam",
    ]
    assert found.data[0].relationships.profile.data.id == ids["profile"]
    assert found.data[0].attributes.event_properties["URL"] == "https://shop.example.com/tea"
    everything = [event.id for event in api.Events.get_events(sort="datetime").data]
    assert len(everything) == 6
    first = api.Events.get_events(sort="datetime", page_size=4)
    rest = api.Events.get_events(sort="datetime", page_size=4, page_cursor=cursor_of(first))
    assert [event.id for event in [*first.data, *rest.data]] == everything
    opened = next(metric_id for metric_id, name in names.items() if name == "Opened Email")
    assert len(api.Events.get_events(filter=f'equals(metric_id,"{opened}")').data) == 1
