"""Inputs of the propensities: right on known histories, blind to the future, and the same in any order of rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from propensity_shop import typed

from ml.errors import FeatureError
from ml.propensity.inputs import FRAMES, point_in_time_inputs
from ml.propensity.leaks import truncated

CUT = datetime(2026, 3, 1, tzinfo=UTC)


def at(days: float) -> datetime:
    """An instant before the cut."""
    return CUT - timedelta(days=days)


def known_shop():
    return typed(
        {
            "customer_orders": [
                {"customer_id": "a", "order_id": "1", "ordered_at": at(50), "gross_amount": 10.5, "item_count": 2},
                {"customer_id": "a", "order_id": "2", "ordered_at": at(20), "gross_amount": 30.0, "item_count": 1},
                {"customer_id": "a", "order_id": "3", "ordered_at": at(10), "gross_amount": 1.5, "item_count": 3},
                {"customer_id": "b", "order_id": "4", "ordered_at": at(0), "gross_amount": 7.0, "item_count": 1},
                {"customer_id": "b", "order_id": "5", "ordered_at": at(-1), "gross_amount": 99.0, "item_count": 1},
            ],
            "customer_order_lines": [
                {"customer_id": "a", "order_id": "1", "ordered_at": at(50), "product_id": "x", "category": "k"},
                {"customer_id": "a", "order_id": "2", "ordered_at": at(20), "product_id": "x", "category": "k"},
                {"customer_id": "a", "order_id": "2", "ordered_at": at(20), "product_id": "y", "category": None},
                {"customer_id": "a", "order_id": "3", "ordered_at": at(10), "product_id": "z", "category": "l"},
            ],
            "customer_emails": [
                {
                    "customer_id": "a",
                    "email_message_id": "m1",
                    "sent_at": at(5),
                    "delivered_at": at(5),
                    "opened_at": at(2),
                    "clicked_at": at(-0.1),
                },
                {"customer_id": "c", "email_message_id": "m2", "sent_at": at(40), "delivered_at": at(40)},
            ],
        }
    )


@pytest.fixture(scope="module")
def known():
    return point_in_time_inputs(known_shop(), CUT)


def test_a_known_history_gives_the_figures_worked_out_by_hand(known):
    expected = {
        "orders": 3,
        "orders_7d": 0,
        "orders_30d": 2,
        "orders_90d": 3,
        "spend": 42.0,
        "spend_30d": 31.5,
        "average_order_value": 14.0,
        "largest_order": 30.0,
        "items_per_order": 2.0,
        "days_since_last_order": 10,
        "days_since_first_order": 50,
        "interval_days_mean": 20.0,
        "interval_days_std": 10.0,
        "recency_to_interval": 0.5,
        "order_span_share": 0.8,
        "distinct_products": 3,
        "distinct_categories": 2,
        "repeat_product_share": 0.25,
        "emails_delivered_7d": 1,
        "email_open_rate_90d": 1.0,
        "days_since_last_email_opened": 2,
    }
    assert known.loc["a", list(expected)].to_dict() == pytest.approx(expected)


def test_the_cut_itself_is_known_and_what_comes_after_is_not(known):
    assert known.loc["b", "orders"] == 1
    assert known.loc["b", "days_since_last_order"] == 0


def test_a_click_after_the_cut_on_an_e_mail_from_before_has_not_happened_yet(known):
    assert known.loc["a", "emails_clicked_30d"] == 0
    assert np.isnan(known.loc["a", "days_since_last_email_clicked"])


def test_who_never_ordered_has_zero_orders_and_no_recency(known):
    assert known.loc["c", "orders"] == 0
    assert np.isnan(known.loc["c", "days_since_last_order"])


def test_what_the_shop_does_not_record_is_missing_and_not_zero(known):
    sessions = [column for column in known if column.startswith(("sessions", "product_views", "cart"))]
    assert sessions
    assert known[sessions].isna().all(axis=None)


def test_a_batch_without_any_visit_still_says_zero_where_the_shop_records_visits():
    inputs = point_in_time_inputs(known_shop(), CUT, observed=tuple(FRAMES))
    assert (inputs["sessions_30d"] == 0).all()


def test_a_session_that_may_still_be_going_on_is_not_counted():
    visits = [
        {"customer_id": "a", "session_id": str(number), "started_at": at(age), "product_view_count": 5}
        for number, age in enumerate((3.0, 0.01))
    ]
    inputs = point_in_time_inputs(typed({"customer_sessions": visits}), CUT)
    assert inputs.loc["a", "product_views_7d"] == 5


def test_visits_are_counted_against_the_customers_own_rhythm():
    visits = [
        {"customer_id": "a", "session_id": str(age), "started_at": at(age), "product_view_count": 0}
        for age in (60.0, 45.0, 30.0)
    ]
    inputs = point_in_time_inputs(typed({"customer_sessions": visits}), CUT)
    assert inputs.loc["a", "session_rate_month"] == pytest.approx(1.0)  # three in 60 + 30 days
    assert inputs.loc["a", "missed_sessions"] == pytest.approx(1.0)  # silent for 30 days


def test_visits_since_the_last_order_begin_after_it():
    orders = [
        {"customer_id": "a", "order_id": str(age), "ordered_at": at(age), "gross_amount": 1.0, "item_count": 1}
        for age in (50.0, 20.0)
    ]
    visits = [
        {"customer_id": one, "session_id": f"{one}{age}", "started_at": at(age), "product_view_count": 0}
        for one in ("a", "b")
        for age in (40.0, 20.01, 10.0, 5.0)
    ]
    frames = typed({"customer_orders": orders, "customer_sessions": visits})
    assert point_in_time_inputs(frames, CUT)["sessions_since_last_order"].to_dict() == {"a": 2, "b": 4}
    frames["customer_orders"] = frames["customer_orders"].head(0)
    assert point_in_time_inputs(frames, CUT)["sessions_since_last_order"].isna().all()


def test_customers_are_described_alike_alone_and_among_others(known):
    frames = known_shop()
    alone = {name: frame[frame["customer_id"] == "a"] for name, frame in frames.items()}
    observed = [name for name, frame in frames.items() if len(frame)]
    pd.testing.assert_frame_equal(point_in_time_inputs(alone, CUT, observed=observed), known.loc[["a"]])


def test_an_instant_without_a_zone_is_refused_by_the_name_of_its_column():
    frames = known_shop()
    frames["customer_orders"]["ordered_at"] = frames["customer_orders"]["ordered_at"].dt.tz_localize(None)
    with pytest.raises(FeatureError) as raised:
        point_in_time_inputs(frames, CUT)
    assert "ordered_at" in str(raised.value)


def test_a_frame_without_a_column_is_refused_by_both_names():
    frames = known_shop()
    frames["customer_emails"] = frames["customer_emails"].drop(columns="clicked_at")
    with pytest.raises(FeatureError) as raised:
        point_in_time_inputs(frames, CUT)
    assert "customer_emails: missing clicked_at" in str(raised.value)


minutes = st.integers(min_value=-200_000, max_value=200_000)
people = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def histories(draw):
    """Events before and after the cut; keys are unique."""
    rows = {name: [] for name in FRAMES}
    for number in range(draw(st.integers(0, 8))):
        when, who = at(draw(minutes) / 1440), draw(people)
        amount = draw(st.floats(0, 1e5, allow_nan=False).map(lambda value: round(value, 2)))
        key = {"customer_id": who, "order_id": f"o{number}", "ordered_at": when}
        rows["customer_orders"].append(key | {"gross_amount": amount, "item_count": draw(st.integers(0, 9))})
        for _ in range(draw(st.integers(0, 3))):
            line = {"product_id": draw(st.sampled_from("xyz")), "category": draw(st.sampled_from(["k", "l", None]))}
            rows["customer_order_lines"].append(key | line)
    for number in range(draw(st.integers(0, 5))):
        visit = {"customer_id": draw(people), "session_id": f"s{number}", "started_at": at(draw(minutes) / 1440)}
        counts = {"product_view_count": draw(st.integers(0, 5)), "cart_addition_count": draw(st.integers(0, 2))}
        rows["customer_sessions"].append(visit | counts)
    for number in range(draw(st.integers(0, 6))):
        sent = draw(minutes)
        mail = {"customer_id": draw(people), "email_message_id": f"m{number}", "sent_at": at(sent / 1440)}
        for act in ("delivered_at", "opened_at", "clicked_at", "unsubscribed_at"):
            if draw(st.booleans()):
                mail[act] = at((sent - draw(st.integers(0, 60_000))) / 1440)
        rows["customer_emails"].append(mail)
    return typed(rows)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_events_after_the_cut_never_change_an_input(frames):
    pd.testing.assert_frame_equal(
        point_in_time_inputs(frames, CUT), point_in_time_inputs(truncated(frames, CUT), CUT), check_exact=True
    )


@settings(max_examples=60, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_rows_may_come_in_any_order_and_repeatedly(frames, chance):
    mixed = {}
    for name, frame in frames.items():
        places = list(range(len(frame))) + [place for place in range(len(frame)) if chance.random() < 0.4]
        chance.shuffle(places)
        mixed[name] = frame.iloc[places].reset_index(drop=True)
    pd.testing.assert_frame_equal(point_in_time_inputs(frames, CUT), point_in_time_inputs(mixed, CUT), check_exact=True)
