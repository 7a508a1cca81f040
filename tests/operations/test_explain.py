"""One person explained, from a small shop that was built, scored and published as the line does it."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from landed_home import Home
from landed_rows import AS_OF, IDENTITY_KEY
from published_home import ANN, EVE

from letterpress.operations import __main__ as commands
from letterpress.operations.explain import Explanation, UnknownCustomer, dbt_hash, explain, render
from letterpress.settings import settings as settings_of
from letterpress.warehouse.database import connect

pytestmark = pytest.mark.slow  # a whole published line is built for them

PERSONAL = ("ann@example.com", "eve@example.com", "Annie", "First C", "1980-07-02", "GB", "Europe/London", "Garden")


def asked(home: Home, who: str, *, is_safe: bool = False) -> Explanation:
    return explain(home.settings, who, identity_key=IDENTITY_KEY, is_safe=is_safe)


def section(explanation: Explanation, title: str) -> list[dict]:
    [found] = [one for one in explanation.to_json()["sections"] if one["title"].startswith(title)]
    return found["rows"]


def values(explanation: Explanation, title: str) -> dict:
    return {row["what"]: row["value"] for row in section(explanation, title)}


@pytest.fixture(scope="module")
def ann(home) -> Explanation:
    return asked(home, ANN)


def test_every_part_finds_its_tables_in_what_the_line_publishes(ann):
    lacking = [note for one in ann.sections for note in one.notes if note.startswith("not in ")]
    assert lacking == []
    assert len({one.title for one in ann.sections}) == len(ann.sections)


def test_a_person_is_found_by_id_by_a_sources_id_and_by_an_address_however_it_is_written(home, ann):
    for who in (ann.customer_id, "shop:C2", "ann@example.com", "  Ann@Example.com ", "ann+sale@example.com"):
        assert asked(home, who).customer_id == ann.customer_id


def test_an_id_that_somebody_had_before_leads_to_who_it_became(home, ann):
    assert asked(home, "an-old-id").customer_id == ann.customer_id


def test_the_hash_of_an_address_is_dbts_own(home):
    with connect(":memory:", read_only=False) as connection:
        key = IDENTITY_KEY.hex().upper()
        query = "select left(sha256($key || sha256($key || 'ann@example.com')), 32)"
        [[found]] = connection.execute(query, {"key": key}).fetchall()
    assert dbt_hash("ann@example.com", IDENTITY_KEY) == found


def test_the_terminal_shows_the_name_and_masks_the_address(home):
    shown = values(asked(home, ANN), "The profile")
    assert shown["first_name"] == "Annie"
    assert shown["email"] == "a…@example.com"
    assert "birth_date" not in shown or shown["birth_date"] == "known, not shown"
    assert "ann@example.com" not in render(asked(home, "ann@example.com"))


def test_the_profile_tells_what_the_warehouse_holds(ann):
    shown = values(ann, "The profile")
    assert (shown["order_count"], shown["total_spend"]) == (2, 50.0)


def test_identities_come_with_the_edges_that_make_them_one(ann):
    keys = {row["source_customer_key"] for row in section(ann, "Identities")}
    assert {"shop:C1", "shop:C2"} <= keys
    address = f"email:{dbt_hash('ann@example.com', IDENTITY_KEY)}"
    edges = [row for row in section(ann, "Why they are one person") if row["right_identifier"] == address]
    assert {(row["left_identifier"], row["edge_kind"]) for row in edges if row["is_joining"]} >= {
        ("shop:C1", "account_email"),
        ("shop:C2", "account_email"),
    }
    assert {row["source_system"] for row in edges} == {"shop"}
    assert all(row["first_seen_at"] for row in edges)


def test_a_device_that_several_people_share_is_told_with_the_reason_why_it_joins_nobody(home):
    [kiosk] = [
        row for row in section(asked(home, EVE), "Why they are one person") if row["edge_kind"] == "device_login"
    ]
    assert (kiosk["left_identifier"], kiosk["is_joining"]) == ("device:kiosk", False)
    assert kiosk["refusal_reason"] == "several_people"


def test_changes_of_the_id_are_told(ann):
    [change] = section(ann, "Changes of the id")
    assert (change["old_customer_id"], change["new_customer_id"]) == ("an-old-id", ann.customer_id)


def test_consent_is_told_decision_by_decision_and_as_it_stands(ann):
    decisions = [
        (row["decision"], row["recorded_at"][:10])
        for row in section(ann, "Consent decisions")
        if row["channel"] == "email" and row["decision_source"] in ("sign_up_form", "preference_centre")
    ]
    assert decisions == [("granted", "2011-01-01"), ("withdrawn", "2011-02-01"), ("granted", "2011-03-01")]
    [now] = [row for row in section(ann, "Consent now") if row["channel"] == "email"]
    assert (now["consent_state"], now["consent_proof"], now["is_sendable"]) == ("granted", "proof-K31", True)


def test_live_suppression_is_told_although_the_published_version_knows_nothing_of_it(home, ann):
    assert section(ann, "Suppression at this moment") == []
    assert section(asked(home, EVE), "Suppression at this moment") == [
        {"subject": "the person", "reason": "complained"},
        {"subject": "the address", "reason": "complained"},
    ]


def test_every_rule_segment_is_explained_by_its_own_values(home, ann):
    from letterpress.warehouse.inputs import DBT_PROJECT
    from letterpress.warehouse.segments import read

    rows = section(ann, "Segments, and")
    named = {row["segment"] for row in rows if row["segment"]}
    assert {one.name for one in read(DBT_PROJECT)} <= named
    [asks] = [row for row in rows if row["segment"] == "Recent Purchasers"]
    assert asks["rule_asks"].startswith("days_since_last_order ")
    assert (asks["found"], asks["is_member"], asks["is_met"]) == (30, False, False)
    members = {row["segment"] for row in rows if row["is_member"]}
    with connect(Path(home_of(home)) / "warehouse.duckdb") as connection:
        query = "select segment_name from marts.dim_customer_segments where customer_id = ?"
        assert members == {name for (name,) in connection.execute(query, [ann.customer_id]).fetchall()}


def home_of(home: Home) -> str:
    from letterpress.warehouse import publish

    return publish.version_dir(home.settings.published, "activation")


def test_segments_entered_are_told_by_version(ann):
    stays = section(ann, "Segments entered and left")
    assert stays
    assert {row["entered_as_of"][:10] for row in stays} == {"2011-07-01"}


def test_rfm_scores_stand_beside_the_cuts_between_them(ann):
    rows = {row["measure"]: row for row in section(ann, "RFM")}
    assert set(rows) == {"recency_days", "frequency", "monetary"}
    assert rows["frequency"]["value"] == 2
    score = rows["monetary"]["score"]
    assert "50.00" in rows["monetary"][f"people_with_{score}"]


def test_scores_come_with_what_the_model_read_and_what_strikes_in_it(ann):
    [score] = section(ann, "Scores")
    assert (score["model_name"], score["tier"], score["decile"]) == ("customer_clusters", "Loyal", 10)
    inputs = {row["feature"]: row for row in section(ann, "What the models read")}
    assert {"recency_days", "frequency", "monetary", "tenure_days"} <= set(inputs)
    assert inputs["frequency"]["value"] == 2
    # Nobody ordered more often; fewer than a fifth stand further out.
    assert inputs["frequency"]["reason_code"] == "frequency_high"


def test_what_was_sent_when_is_told_and_what_became_of_it(ann):
    [sent] = section(ann, "What Letterpress sent")
    assert (sent["campaign_id"], sent["destination"], sent["accepted_at"][:16]) == (
        "spring",
        "local_esp",
        "2011-06-30T12:00",
    )
    messages = section(ann, "What became of the messages")
    assert [row["first_clicked_at"] is not None for row in messages] == [True, False]


def test_the_safe_form_holds_ids_hashes_decisions_and_numbers_and_nothing_personal(home, ann):
    for who in (ANN, EVE, "shop:C7"):
        explained = asked(home, who, is_safe=True)
        text = render(explained) + json.dumps(explained.to_json())
        assert [value for value in PERSONAL if re.search(rf"(?<!\w){re.escape(value)}", text)] == []
        assert "@" not in text
    safe = asked(home, ANN, is_safe=True)
    assert [one.title for one in safe.sections] == [one.title for one in ann.sections]
    assert values(safe, "The profile")["order_count"] == 2
    assert section(safe, "Consent decisions") == section(ann, "Consent decisions")


@pytest.mark.parametrize("who", ["shop:C404", "0" * 32, "nobody@example.com", "Annie Example"])
def test_nobody_is_known_by_something_else_and_the_error_says_what_to_give(home, who):
    with pytest.raises(UnknownCustomer) as caught:
        asked(home, who)
    message = str(caught.value)
    assert "found nobody in activation 20110701T000000Z" in message
    assert "next step: give a customer_id" in message
    assert "@" not in message
    assert "Annie" not in message


def test_a_version_that_lacks_a_table_says_so_and_the_rest_is_told(home, monkeypatch):
    from letterpress.operations import explain_sections

    def asks_too_much(source, person):
        """A part of later."""
        return source.table("marts.of_later", "true")

    monkeypatch.setattr(explain_sections, "SECTIONS", (explain_sections.profile, asks_too_much))
    first, second = asked(home, ANN).sections
    assert first.rows
    assert second.title == "A part of later"
    assert second.notes[0].startswith("not in activation 20110701T000000Z")
    assert "marts.of_later is missing; next step: `make run`" in second.notes[0]


def test_without_an_activation_version_the_features_are_told(home, tmp_path):
    import shutil

    shutil.copytree(home.settings.home, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "published" / "activation")
    explained = explain(Home(tmp_path / "home").settings, ANN, identity_key=IDENTITY_KEY, is_safe=False)
    assert values(explained, "The profile")["order_count"] == 2
    assert any("marts.fct_customer_scores is missing" in note for one in explained.sections for note in one.notes)


def test_make_explain_prints_the_page_and_an_unknown_customer_is_an_error_of_one_line(home, monkeypatch, capsys):
    monkeypatch.setenv("LETTERPRESS_HOME", home.settings.home)
    settings_of.cache_clear()
    try:
        assert commands.main(["explain", "ann@example.com"]) == 0
        shown = capsys.readouterr().out
        assert commands.main(["explain", "shop:C404"]) == 1
        refused = capsys.readouterr().out
    finally:
        settings_of.cache_clear()
    assert "Why they are one person" in shown
    assert "Annie" in shown
    assert "ann@example.com" not in shown
    assert refused.startswith("customer: expected one person known by shop:C404, found nobody")


def test_instants_are_told_in_utc_whatever_the_machines_zone(ann):
    assert datetime.fromisoformat(ann.as_of) == AS_OF
