"""Category affinity: planted tastes are found, thin histories lean to everybody's, and the next purchases show it."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from propensity_shop import AS_OF, CATEGORIES, shop, typed

from ml.models.category_affinity import LINES, MODEL, Settings
from ml.propensity import affinity
from ml.propensity.affinity import Prior

SETTINGS = Settings()


def lines(*rows):
    """(customer, order, days ago, product, category)."""
    return typed(
        {
            LINES: [
                {
                    "customer_id": customer,
                    "order_id": order,
                    "ordered_at": AS_OF - timedelta(days=days),
                    "product_id": product,
                    "category": category,
                }
                for customer, order, days, product, category in rows
            ]
        }
    )[LINES]


@pytest.fixture(scope="module")
def frames():
    return {LINES: shop(seed=5)[LINES]}


@pytest.fixture(scope="module")
def trained(frames):
    return MODEL.train(frames, AS_OF, SETTINGS, 1)


def test_favourites_beat_the_most_popular_and_the_own_most_frequent_on_the_next_month(trained):
    metrics = trained.metrics
    assert metrics["fallback"] is None
    assert metrics["ndcg"] > metrics["ndcg_popular"] + 0.05
    assert metrics["ndcg"] >= metrics["ndcg_own_most_frequent"]
    assert metrics["hit_rate_at_3"] > metrics["hit_rate_at_3_popular"]


def test_the_first_favourites_share_of_the_next_purchases_is_what_was_said(trained):
    rows = trained.holdout
    assert rows["prediction"].mean() == pytest.approx(rows["truth"].mean(), abs=0.08)


def test_affinity_is_the_dirichlet_mean_worked_out_by_hand():
    bought = affinity.purchases(
        lines(("a", "1", 0, "x", "toys"), ("a", "1", 0, "y", "toys"), ("a", "2", 0, "z", "books")), AS_OF
    )
    prior = Prior(1e12, 2.0, pd.Series({"books": 0.75, "toys": 0.25}))
    places, shares = affinity.ranked(bought, prior, 2)
    assert bought.categories[places[0]].tolist() == ["books", "toys"]
    assert shares[0] == pytest.approx([(1 + 2 * 0.75) / 5, (2 + 2 * 0.25) / 5])


def test_a_purchase_counts_half_after_a_half_life():
    bought = affinity.purchases(lines(("a", "1", 30, "x", "toys")), AS_OF)
    assert bought.counts(30).toarray() == pytest.approx(np.array([[0.5]]))


def test_one_purchase_does_not_outweigh_everybody_but_many_do():
    many = [("many", f"o{number}", 3, "x", "paper") for number in range(12)]
    once = [("once", "o", 3, "x", "paper")]
    bought = affinity.purchases(lines(*many, *once), AS_OF, categories=("garden", "paper"))
    places, _ = affinity.ranked(bought, Prior(365.0, 4.0, pd.Series({"garden": 0.9, "paper": 0.1})), 1)
    assert bought.categories[places[:, 0]].tolist() == ["paper", "garden"]


def test_every_customer_gets_ranked_favourites_with_a_true_reason(frames, trained):
    scores = MODEL.score(trained.fitted, frames, AS_OF)
    assert set(scores.rows["customer_id"]) == set(frames[LINES]["customer_id"])
    assert scores.items.groupby("customer_id")["rank"].apply(list).map(lambda ranks: ranks == [1, 2, 3, 4, 5]).all()
    assert set(scores.items["item_id"]) <= set(CATEGORIES)
    assert (scores.items.groupby("customer_id")["score"].diff().dropna() <= 0).all()
    one = scores.items.iloc[0]
    own = frames[LINES].query("customer_id == @one.customer_id and category == @one.item_id")
    days = (pd.Timestamp(AS_OF) - own["ordered_at"].max()).days
    often = {1: "once", 2: "twice"}.get(own["order_id"].nunique(), f"in {own['order_id'].nunique()} orders")
    assert one["reason"] == f"bought {often}, last {days} day{'' if days == 1 else 's'} ago"


def test_a_category_that_was_never_bought_is_called_popular_and_not_bought(frames, trained):
    scores = MODEL.score(trained.fitted, {LINES: lines(("new", "1", 2, "p", "books"))}, AS_OF).items
    reasons = scores.set_index("item_id")["reason"]
    assert reasons["books"] == "bought once, last 2 days ago"
    assert set(reasons.drop("books")) == {"popular with other customers"}


def test_equal_purchases_in_any_order_and_repeatedly_give_equal_bytes_and_favourites(frames, trained):
    mixed = pd.concat([frames[LINES], frames[LINES].iloc[::5]]).sample(frac=1, random_state=2)
    again = MODEL.train({LINES: mixed}, AS_OF, SETTINGS, 1)
    artefact = MODEL.dump(trained.fitted)
    assert MODEL.dump(again.fitted) == artefact
    assert MODEL.dump(MODEL.load(artefact)) == artefact
    pd.testing.assert_frame_equal(
        MODEL.score(MODEL.load(artefact), {LINES: mixed}, AS_OF).items, MODEL.score(again.fitted, frames, AS_OF).items
    )


def test_favourites_do_not_depend_on_who_else_is_in_the_batch(frames, trained):
    everybody = MODEL.score(trained.fitted, frames, AS_OF)
    some = everybody.rows["customer_id"][::83]
    batch = {LINES: frames[LINES][frames[LINES]["customer_id"].isin(some)]}
    alone = MODEL.score(trained.fitted, batch, AS_OF).items
    expected = everybody.items[everybody.items["customer_id"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected)


def test_purchases_after_the_cut_change_nothing(frames, trained):
    cut = AS_OF - timedelta(days=60)
    before = {LINES: frames[LINES][frames[LINES]["ordered_at"] <= pd.Timestamp(cut)]}
    pd.testing.assert_frame_equal(
        MODEL.score(trained.fitted, frames, cut).items, MODEL.score(trained.fitted, before, cut).items
    )


@pytest.mark.parametrize("rows", [[], [("a", "1", 3, "x", None)], [("a", "1", 3, "x", "toys")]])
def test_a_shop_with_hardly_a_category_says_so_and_still_answers(rows):
    frames = {LINES: lines(*rows)}
    result = MODEL.train(frames, AS_OF, SETTINGS, 1)
    assert "not fitted" in result.metrics["fallback"]
    assert result.metrics["ndcg"] is None
    scores = MODEL.score(MODEL.load(MODEL.dump(result.fitted)), frames, AS_OF)
    assert len(scores.rows) == sum(row[4] is not None for row in rows)


def test_no_customer_stands_in_an_artefact(frames, trained):
    artefact = b"".join(MODEL.dump(trained.fitted).values())
    assert not any(customer.encode() in artefact for customer in frames[LINES]["customer_id"].unique())
