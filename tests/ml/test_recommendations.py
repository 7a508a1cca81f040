"""Recommendations: in stock, for good reasons, from the past alone, and something for everybody."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.errors import FeatureError
from ml.models.recommendations import MODEL, Settings
from ml.spec import ANONYMOUS

AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
PRODUCTS = 60
SETTINGS = Settings(warm_items=100, snapshots=2, fresh_places=2, repeat_rate=0.6)


def product_id(number):
    return f"p{number:03d}"


def simulate_lines(customers=250, days=200, seed=3):
    """Each customer has a taste of one of five kinds, of which the first two products are bought again and again."""
    chance = np.random.default_rng(seed)
    rows, order = [], 0
    for number in range(customers):
        kind = number % 5
        day = float(chance.uniform(0, days / 2))
        while day < days:
            order += 1
            at = AS_OF - timedelta(days=days - day)
            mine = [kind, kind + 5, *(kind + 5 * chance.integers(2, 10, 3))]
            other = [int(chance.integers(0, 50))] if chance.random() < 0.3 else []
            for item in {*mine[: chance.integers(1, 6)], *other}:
                rows.append((f"c{number:04d}", f"o{order:05d}", at, product_id(item)))
            day += float(chance.exponential(20)) + 1
    lines = pd.DataFrame(rows, columns=["customer_id", "order_id", "ordered_at", "product_id"])
    lines["ordered_at"] = pd.to_datetime(lines["ordered_at"], utc=True).dt.floor("s")
    return lines


def simulate_products():
    """Fifty that are sold, and ten new ones that nobody has bought yet, two of each kind."""
    numbers = np.arange(PRODUCTS)
    kinds = np.array(["tea", "lamp", "scarf", "puzzle", "soap"], dtype=object)[numbers % 5]
    created = np.where(numbers < 50, "2010-01-01", "2011-06-20")
    return pd.DataFrame(
        {
            "product_id": [product_id(number) for number in numbers],
            "product_name": [f"{kind} number {number}" for kind, number in zip(kinds, numbers, strict=True)],
            "category": kinds,
            "price": 2.0 + numbers % 7,
            "is_in_stock": numbers % 11 != 3,
            "created_at": pd.to_datetime(created, utc=True),
        }
    )


def frames_of(lines, products=None, visitors=("visitor",)):
    ids = sorted({*lines["customer_id"], *visitors})
    features = pd.DataFrame({"customer_id": pd.Series(ids, dtype=object)})
    return {
        "customer_order_lines": lines,
        "products": simulate_products() if products is None else products,
        "customer_features": features,
    }


@pytest.fixture(scope="module")
def lines():
    return simulate_lines()


@pytest.fixture(scope="module")
def trained(lines):
    return MODEL.train(frames_of(lines), AS_OF, SETTINGS, 1)


@pytest.fixture(scope="module")
def scored(lines, trained):
    return MODEL.score(trained.fitted, frames_of(lines), AS_OF)


def test_the_two_stages_beat_what_is_popular_and_what_was_bought_before(trained):
    metrics = trained.metrics
    assert metrics["fallback"] is None
    assert metrics["ndcg_at_10"] > metrics["ndcg_at_10_popularity"] + 0.1
    assert metrics["ndcg_at_10"] > metrics["ndcg_at_10_buy_again"]
    assert metrics["ndcg_at_10_new"] > metrics["ndcg_at_10_new_popularity"]
    assert MODEL.quality(trained.holdout) == pytest.approx(metrics["ndcg_at_10"])


def test_what_is_expected_of_a_list_is_about_what_comes_true(trained):
    assert trained.holdout["prediction"].mean() == pytest.approx(trained.holdout["truth"].mean(), rel=0.25)


def test_everybody_has_a_list_without_gaps_or_repetition(lines, scored):
    everybody = {*lines["customer_id"], "visitor"}
    assert list(scored.rows["customer_id"]) == sorted(everybody)
    assert set(scored.items["customer_id"]) == {*everybody, ANONYMOUS}
    assert np.isfinite(scored.rows["score"]).all()
    assert np.isfinite(scored.items["score"]).all()
    assert not scored.items.duplicated(["customer_id", "item_id"]).any()
    for _, items in scored.items.groupby("customer_id"):
        assert list(items["rank"]) == list(range(1, len(items) + 1))
        assert 10 <= len(items) <= 20
    known = scored.items[~scored.items["customer_id"].isin(["visitor", ANONYMOUS])]
    assert (known.groupby("customer_id")["score"].diff().dropna() <= 0).all()


def test_nothing_out_of_stock_is_recommended(scored):
    products = simulate_products()
    assert set(scored.items["item_id"]) <= set(products["product_id"][products["is_in_stock"]])


def test_what_sold_out_or_was_withdrawn_since_the_training_is_gone(lines, trained, scored):
    favourite = scored.items["item_id"].value_counts().index[0]
    products = simulate_products()
    sold_out = products.assign(is_in_stock=products["is_in_stock"] & (products["product_id"] != favourite))
    withdrawn = products[products["product_id"] != favourite]
    for changed in (sold_out, withdrawn):
        items = MODEL.score(trained.fitted, frames_of(lines, changed), AS_OF).items
        assert favourite not in set(items["item_id"])
        assert set(items["customer_id"]) == set(scored.items["customer_id"])


def test_what_was_just_bought_is_left_out_unless_it_is_bought_again_and_again(lines, trained, scored):
    days = SETTINGS.just_bought_days
    at = pd.Timestamp(AS_OF)
    recent = lines[lines["ordered_at"] >= at - pd.Timedelta(days=days)]
    rate = dict(zip(trained.fitted.lessons.items, trained.fitted.lessons.statistics["repeat_rate"], strict=True))
    recent = recent.assign(returns=recent["product_id"].map(rate) >= SETTINGS.repeat_rate)
    listed = scored.items.merge(recent, left_on=["customer_id", "item_id"], right_on=["customer_id", "product_id"])
    assert not recent["returns"].all()
    assert len(listed) > 0
    assert listed["returns"].all()


def test_the_just_bought_rule_can_be_switched_off(lines, trained):
    lenient = MODEL.train(frames_of(lines), AS_OF, SETTINGS.model_copy(update={"just_bought_days": 0}), 1)
    items = MODEL.score(lenient.fitted, frames_of(lines), AS_OF).items
    recent = lines[lines["ordered_at"] >= pd.Timestamp(AS_OF) - pd.Timedelta(days=14)]
    rate = dict(zip(lenient.fitted.lessons.items, lenient.fitted.lessons.statistics["repeat_rate"], strict=True))
    once = recent[recent["product_id"].map(rate) < SETTINGS.repeat_rate]
    assert len(items.merge(once, left_on=["customer_id", "item_id"], right_on=["customer_id", "product_id"])) > 0


def test_reasons_are_true(lines, scored):
    names = simulate_products().set_index("product_id")["product_name"]
    bought = lines.assign(name=lines["product_id"].map(names)).groupby("customer_id")["name"].agg(set)
    items = scored.items[scored.items["customer_id"].isin(bought.index)]
    own = items["item_id"].map(names).to_numpy()
    prefixes = ("because you bought ", "similar to ")
    named = 0
    for (_, entry), name in zip(items.iterrows(), own, strict=True):
        history = bought[entry["customer_id"]]
        prefix = next((one for one in prefixes if entry["reason"].startswith(one)), None)
        if prefix:
            assert entry["reason"].removeprefix(prefix) in history
            assert name not in history
            named += 1
        elif entry["reason"].startswith("bought"):
            assert name in history
        else:
            assert entry["reason"] in ("popular this month", "new in the shop")
    assert named > 100


def test_bought_again_names_the_customers_own_interval(lines, trained):
    at = pd.Timestamp(AS_OF)
    days = [90, 62, 34]
    own = pd.DataFrame(
        {
            "customer_id": "regular",
            "order_id": [f"r{day}" for day in days],
            "ordered_at": [at - pd.Timedelta(days=day) for day in days],
            "product_id": product_id(0),
        }
    )
    items = MODEL.score(trained.fitted, frames_of(own, visitors=()), AS_OF).items
    reason = items.loc[(items["customer_id"] == "regular") & (items["item_id"] == product_id(0)), "reason"]
    assert list(reason) == ["bought again every 4 weeks"]


def test_a_list_does_not_depend_on_who_else_is_scored(lines, trained, scored):
    chosen = ["c0003", "c0017", "c0100"]
    for batch in (chosen, chosen[:1]):
        part = MODEL.score(trained.fitted, frames_of(lines[lines["customer_id"].isin(batch)], visitors=()), AS_OF)
        for have, all_of in ((part.rows, scored.rows), (part.items, scored.items)):
            expected = all_of[all_of["customer_id"].isin([*batch, ANONYMOUS])].reset_index(drop=True)
            pd.testing.assert_frame_equal(have.reset_index(drop=True), expected, check_dtype=False)


def test_the_visitor_and_the_anonymous_get_what_is_popular(scored):
    visitor, nobody = (scored.items[scored.items["customer_id"] == who] for who in ("visitor", ANONYMOUS))
    assert list(visitor["item_id"]) == list(nobody["item_id"])
    assert visitor["reason"].iloc[0] == "popular this month"
    assert scored.rows.set_index("customer_id").loc["visitor", "tier"] == "popular"


def test_strangers_get_what_is_popular_where_they_live(lines):
    frames = frames_of(lines, visitors=("stranger",))
    features = frames["customer_features"]
    kind = pd.to_numeric(features["customer_id"].str[1:], errors="coerce").fillna(2) % 5
    features["country_code"] = np.where(kind.isin([2, 3]), "south", "north")
    fitted = MODEL.train(frames, AS_OF, SETTINGS.model_copy(update={"segment": "country_code"}), 1).fitted
    items = MODEL.score(fitted, frames, AS_OF).items
    is_southern = items["item_id"].str[1:].astype(int) % 5 >= 2
    is_southern &= items["item_id"].str[1:].astype(int) % 5 <= 3
    first = items["rank"] <= 3
    here, anywhere = (is_southern[first & (items["customer_id"] == who)] for who in ("stranger", ANONYMOUS))
    assert here.all()
    assert not anywhere.all()


def test_a_segment_that_the_features_lack_is_named(lines):
    with pytest.raises(FeatureError, match="shoe_size is no column of customer_features"):
        MODEL.train(frames_of(lines), AS_OF, SETTINGS.model_copy(update={"segment": "shoe_size"}), 1)


def test_new_products_reach_those_whose_taste_they_are(scored):
    fresh = scored.items[scored.items["item_id"] >= product_id(50)]
    fresh = fresh[fresh["customer_id"].str.startswith("c0")]
    is_taste = fresh["customer_id"].str[1:].astype(int) % 5 == fresh["item_id"].str[1:].astype(int) % 5
    everybody = scored.rows["customer_id"].str.startswith("c0").sum()
    assert fresh[is_taste]["customer_id"].nunique() > 0.95 * everybody
    assert fresh[is_taste]["reason"].str.startswith("similar to ").all()


def test_products_made_after_the_instant_are_unknown(lines, trained):
    products = simulate_products()
    later = products["product_id"] == product_id(51)
    products.loc[later, "created_at"] = pd.Timestamp(AS_OF) + pd.Timedelta(days=1)
    items = MODEL.score(trained.fitted, frames_of(lines, products), AS_OF).items
    assert product_id(51) not in set(items["item_id"])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), share=st.floats(0.1, 1.0))
def test_what_happens_after_the_cut_changes_nothing(lines, seed, share):
    cut = AS_OF - timedelta(days=60)
    known = lines[lines["ordered_at"] <= pd.Timestamp(cut)]
    later = lines[lines["ordered_at"] > pd.Timestamp(cut)].sample(frac=share, random_state=seed)
    shuffled = pd.concat([known, later]).sample(frac=1, random_state=seed)
    small = SETTINGS.model_copy(update={"snapshots": 1})
    expected = _fit_at(frames_of(known), cut, small)
    assert _fit_at(frames_of(shuffled), cut, small) == expected


def _fit_at(frames, cut, chosen):
    from ml.models.recommendations import Recommender
    from ml.recommendations.fit import Fitter

    lessons, ranker, _ = Fitter(frames["customer_order_lines"], frames["products"], chosen.plan(), 1).fit(cut)
    return MODEL.dump(Recommender(lessons, ranker, chosen))


def test_equal_data_gives_equal_bytes_in_any_row_order(lines, trained):
    shuffled = frames_of(lines.sample(frac=1, random_state=5), simulate_products().sample(frac=1, random_state=6))
    again = MODEL.train(shuffled, AS_OF, SETTINGS, 1)
    assert MODEL.dump(again.fitted) == MODEL.dump(trained.fitted)
    assert again.metrics == trained.metrics


def test_an_artefact_comes_back_whole_and_holds_no_customer(lines, trained, scored):
    artefact = MODEL.dump(trained.fitted)
    loaded = MODEL.load(artefact)
    assert MODEL.dump(loaded) == artefact
    pd.testing.assert_frame_equal(MODEL.score(loaded, frames_of(lines), AS_OF).items, scored.items)
    for content in artefact.values():
        assert b"c0003" not in content
    texts = [array for array in _arrays(artefact["items.npz"]) if array.dtype.kind == "U"]
    assert set(np.concatenate(texts)) == set(lines["product_id"])
    customers = lines["customer_id"].nunique()
    assert all(customers not in array.shape for array in _arrays(artefact["items.npz"]))


def _arrays(content):
    import io

    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return [archive[name] for name in archive.files]


def test_a_version_is_not_measured_on_outcomes_that_it_has_seen(lines, trained):
    frames = frames_of(lines)
    assert MODEL.holdout(trained.fitted, frames, AS_OF) is None
    assert MODEL.evaluate(trained.fitted, frames, AS_OF)["outcomes_seen"]
    cut = AS_OF - timedelta(days=SETTINGS.horizon_days)
    earlier = MODEL.train(frames_of(lines[lines["ordered_at"] <= pd.Timestamp(cut)]), cut, SETTINGS, 1)
    pd.testing.assert_frame_equal(MODEL.holdout(earlier.fitted, frames, AS_OF), trained.holdout)


def test_outcomes_are_known_once_the_horizon_is_over(lines, trained):
    cut = AS_OF - timedelta(days=SETTINGS.horizon_days)
    frames = frames_of(lines)
    assert MODEL.outcomes(trained.fitted, frames, cut, AS_OF - timedelta(days=1)) is None
    known = MODEL.outcomes(trained.fitted, frames, cut, AS_OF)
    in_window = lines[lines["ordered_at"] > pd.Timestamp(cut)]
    assert set(known["customer_id"]) <= set(in_window["customer_id"])
    assert known["truth"].between(0, 20).all()
    assert known["truth"].sum() > 0


def test_importance_is_shared_out_whole(trained):
    shares = MODEL.importance(trained.fitted)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["again_rank"] + shares["again"] + shares["own_orders"] > 0


def test_inputs_are_one_row_a_buyer(lines, trained):
    inputs = MODEL.inputs(trained.fitted, frames_of(lines), AS_OF)
    assert list(inputs["customer_id"]) == sorted(lines["customer_id"].unique())
    assert inputs.set_index("customer_id")["customer_orders"].to_dict() == (
        lines.groupby("customer_id")["order_id"].nunique().to_dict()
    )


def test_a_young_shop_gets_lists_and_says_why_they_are_simple(lines):
    young = lines[lines["ordered_at"] > pd.Timestamp(AS_OF) - pd.Timedelta(days=20)]
    trained = MODEL.train(frames_of(young), AS_OF, SETTINGS, 1)
    assert "too short for a training snapshot" in trained.metrics["fallback"]
    assert trained.holdout is None
    assert MODEL.importance(trained.fitted) == {}
    scored = MODEL.score(MODEL.load(MODEL.dump(trained.fitted)), frames_of(young), AS_OF)
    assert set(scored.items["customer_id"]) == {*young["customer_id"], "visitor", ANONYMOUS}


def test_a_shop_without_purchases_shows_what_is_new_and_says_why(lines):
    frames = frames_of(lines.iloc[:0])
    trained = MODEL.train(frames, AS_OF, SETTINGS, 1)
    assert trained.metrics["fallback"] == "new products only: no purchase is known"
    scored = MODEL.score(MODEL.load(MODEL.dump(trained.fitted)), frames, AS_OF)
    assert set(scored.items["item_id"]) <= {product_id(number) for number in range(50, 60)}
    assert set(scored.items["reason"]) == {"new in the shop"}
    assert list(scored.rows["customer_id"]) == ["visitor"]


def test_a_shop_without_products_has_empty_lists_and_finite_scores(lines):
    frames = frames_of(lines.iloc[:0], simulate_products().iloc[:0])
    trained = MODEL.train(frames, AS_OF, SETTINGS, 1)
    scored = MODEL.score(trained.fitted, frames, AS_OF)
    assert scored.items.empty
    assert scored.rows[["score", "tier"]].to_numpy().tolist() == [[0.0, "none"]]
