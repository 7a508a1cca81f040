"""What a person sees of syncs: the numbers of plan and result, refusals by reason, and nobody's data."""

import pytest
from activation_line import person

from letterpress.activation import syncs
from letterpress.activation.destinations import Guard


@pytest.fixture
def told(line):
    """Two syncs: three people arrive, one of whom is refused; then one changes and one withdraws."""
    line.sync(person(1), person(2), person(3), person(4, email="not an address"))
    line.sync(
        person(1, loyalty_tier="silver"),
        person(2).refused("unsubscribed"),
        person(3),
        person(4, email="not an address"),
    )
    return line


def page(line, plan_id: str) -> str:
    return syncs.page(str(line.folder / "plans"), line.stores_url, line.destination.name, plan_id)


def test_the_index_has_every_destination_with_its_latest_plans_first(told):
    shown = syncs.index(
        str(told.folder / "plans"), told.stores_url, ["local_esp", "klaviyo"], link="/letterpress/syncs/{}/{}"
    )
    assert "3 held there, 1 suppressed" in shown
    assert "1 refused: invalid_email" in shown
    assert shown.index("1 suppress, 1 update") < shown.index("4 create")
    assert "Nothing was planned yet: run <code>sync_klaviyo</code>" in shown
    plan, result = syncs.latest(str(told.folder / "plans"), "local_esp")
    assert f"/letterpress/syncs/local_esp/{plan.plan_id}" in shown
    assert (result.accepted, result.rejected) == (2, {})


def test_a_plans_page_tells_what_it_did_what_was_refused_and_the_time_beside_the_limit(told):
    plan, _ = syncs.latest(str(told.folder / "plans"), "local_esp")
    shown = page(told, plan.plan_id)
    assert "2 accepted in 2 requests" in shown
    assert "the limits leave 0 s at least" in " ".join(shown.split())
    assert "loyalty_tier" in shown
    assert "invalid_email" in shown
    assert "expected a deliverable e-mail address" in shown
    assert "unsubscribed" in shown


def test_no_page_and_no_text_holds_personal_data(told):
    plans = str(told.folder / "plans")
    texts = [page(told, uri.rsplit("/", 1)[1].removesuffix(".json")) for uri in syncs.plans_of(plans, "local_esp")]
    texts.append(syncs.render(*syncs.latest(plans, "local_esp")))
    for text in texts:
        for personal in ("example.com", "not an address", "Ada", "customer-00001"):
            assert personal not in text


def test_a_plan_that_was_not_carried_out_says_so(told):
    told.destination = told.destination.model_copy(update={"guard": Guard(removed_percent=0, removed_at_least=1)})
    told.publish(person(1))
    assert "It was not carried out." in page(told, told.plan().plan_id)


@pytest.mark.parametrize("plan_id", ["0" * 20, "../../secrets/identity_key", "..%2f..%2fx"])
def test_a_plan_that_is_not_there_is_not_found(told, plan_id):
    with pytest.raises(syncs.NoSuchPlan, match="see the list of syncs"):
        page(told, plan_id)
