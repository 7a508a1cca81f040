"""Candidates, measures and files of recommendations: known answers on matrices small enough to check."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from ml.recommendations import baselines, candidates, metrics, similarity, store
from ml.recommendations.fit import Fitter, Plan
from ml.recommendations.history import AGAIN_HALF_LIFE_DAYS, bought_after, history
from ml.recommendations.shelf import item_statistics

CUT = datetime(2011, 7, 1, tzinfo=UTC)


def days_before(days):
    return pd.Timestamp(CUT) - pd.Timedelta(days=days)


def lines_of(*rows):
    """(customer, order, days before the cut, product) as lines."""
    data = [(customer, order, days_before(days), product) for customer, order, days, product in rows]
    return pd.DataFrame(data, columns=["customer_id", "order_id", "ordered_at", "product_id"])


@pytest.fixture
def purchases():
    chance = np.random.default_rng(4)
    return sparse.csr_matrix((chance.random((40, 12)) < 0.3) * chance.uniform(0.2, 1, (40, 12)))


def test_ease_is_the_ridge_regression_of_each_item_on_all_others(purchases):
    weights = similarity.ease(purchases, 3.0, neighbours=12).toarray()
    dense = purchases.toarray()
    for item in range(12):
        others = np.delete(np.arange(12), item)
        gram = dense[:, others].T @ dense[:, others] + 3.0 * np.eye(11)
        direct = np.linalg.solve(gram, dense[:, others].T @ dense[:, item])
        np.testing.assert_allclose(weights[others, item], direct, atol=1e-6)
        assert weights[item, item] == 0


def test_user_user_is_every_neighbours_purchases_weighted_by_the_cosine(purchases):
    weights = similarity.user_user(purchases, neighbours=12).toarray()
    dense = purchases.toarray()
    length = np.linalg.norm(dense, axis=1)
    cosine = (dense @ dense.T) / np.where(length > 0, np.outer(length, length), 1.0)
    brute_force = cosine @ dense
    # An item says nothing for itself, which only takes from each customer's own items.
    is_other = dense == 0
    ours = (purchases @ weights) / np.where(length > 0, length, 1.0)[:, np.newaxis]
    np.testing.assert_allclose(ours[is_other], brute_force[is_other], rtol=1e-5, atol=1e-7)


def test_item_item_is_the_damped_cosine():
    bought = sparse.csr_matrix(np.array([[1.0, 1, 0], [1, 1, 1], [1, 0, 0]]))
    weights = similarity.item_item(bought, 1.0, neighbours=3).toarray()
    assert weights[0, 1] == pytest.approx(2 / (np.sqrt(3 * 2) + 1))
    assert weights[1, 0] == weights[0, 1]
    assert weights[2, 1] == pytest.approx(1 / (np.sqrt(2) + 1))
    assert np.diag(weights).tolist() == [0, 0, 0]


def test_only_the_strongest_sources_of_each_item_are_kept():
    weights = np.array([[0.0, 0.5, -0.9], [0.2, 0.0, 0.1], [0.3, 0.0, 0.0]])
    kept = similarity.strongest(weights, 1).toarray()
    np.testing.assert_allclose(kept, [[0, 0.5, -0.9], [0, 0, 0], [0.3, 0, 0]], rtol=1e-6)


def test_the_best_scores_are_found_exactly_in_any_width():
    chance = np.random.default_rng(8)
    for width in (1, 7, 40, 333):
        scores = np.round(chance.normal(0, 1, (6, 2, width)), 1).astype(np.float32)
        scores[0, 0] = -np.inf
        row, source, column, place = candidates._best(scores, 5)
        found = {(r, s, p): c for r, s, c, p in zip(row, source, column, place, strict=True)}
        for r, s in np.ndindex(6, 2):
            best = [c for c in np.argsort(-scores[r, s], kind="stable")[:5] if scores[r, s, c] > 0]
            assert [found[r, s, p] for p in range(len(best))] == best
        assert len(found) == len(row) == sum(min(5, (scores[r, s] > 0).sum()) for r, s in np.ndindex(6, 2))


def test_content_knows_products_by_words_category_and_price():
    products = pd.DataFrame(
        {
            "product_name": ["red tea cup", "red tea pot", "garden chair", None],
            "category": ["kitchen", "kitchen", "garden", None],
            "price": [4.0, 4.0, 40.0, np.nan],
        }
    )
    weights = similarity.content(products, np.arange(4), np.array([1, 2, 3]), neighbours=4).toarray()
    assert weights.shape == (4, 3)
    assert weights[0, 0] > 0.5
    assert weights[0, 1] < 0.1
    assert weights[1, 0] == 0
    assert weights[:, 2].tolist() == [0, 0, 0, 0]


def test_ndcg_recall_and_coverage_by_hand():
    lists = np.array([[1, 2, 3], [4, -1, -1], [5, 6, 7]])
    row, item = np.array([0, 0, 0, 1, 1]), np.array([1, 3, 9, 4, 8])
    ndcg = metrics.ndcg(lists, row, item, places=3)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg[0] == pytest.approx((1 + 1 / np.log2(4)) / ideal)
    assert ndcg[1] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert np.isnan(ndcg[2])
    assert metrics.recall(lists, row, item, places=2)[:2].tolist() == pytest.approx([1 / 3, 1 / 2])
    assert metrics.coverage(lists, 14) == 0.5


def test_an_ideal_list_of_ten_is_perfect_however_many_items_are_relevant():
    relevant = np.arange(25)
    lists = relevant[np.newaxis, :10]
    assert metrics.ndcg(lists, np.zeros(25, dtype=int), relevant).tolist() == [1.0]


def test_a_history_counts_orders_not_lines_and_halves_the_old():
    half = AGAIN_HALF_LIFE_DAYS
    lines = lines_of(
        ("b", "o1", 0, "x"),
        ("b", "o1", 0, "x"),
        ("b", "o2", half, "x"),
        ("b", "o3", 2 * half, "y"),
        ("a", "o4", 5, "z"),
    )
    later = lines_of(("a", "o5", -1, "x"))
    bought = history(pd.concat([lines, later]), ["w", "x", "y"], CUT)
    assert list(bought.customers) == ["a", "b"]
    assert bought.start.tolist() == [0, 0, 2]
    assert bought.item.tolist() == [1, 2]
    assert bought.orders.tolist() == [2, 1]
    assert bought.decayed.tolist() == pytest.approx([1.5, 0.25])
    assert bought.first.tolist() == pytest.approx([half, 2 * half])
    assert bought.last.tolist() == pytest.approx([0, 2 * half])
    assert bought.order_count.tolist() == [1, 3]
    assert bought.taken(np.array([1])).item.tolist() == [1, 2]
    row, item = bought_after(pd.concat([lines, later]), ["w", "x"], bought.customers, CUT, CUT + timedelta(days=2))
    assert (row.tolist(), item.tolist()) == ([0], [1])


def test_item_statistics_by_hand():
    lines = lines_of(
        ("a", "1", 3, "x"), ("a", "2", 33, "x"), ("b", "3", 10, "x"), ("b", "4", 50, "y"), ("c", "5", 90, "y")
    )
    found = item_statistics(history(lines, ["x", "y"], CUT))
    assert found["buyers"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found["popularity"].tolist() == [1.0, 0.0]
    assert found["age"].tolist() == [33, 90]
    assert found["interval"].tolist() == pytest.approx([30, 30])
    assert found["repeat_rate"][0] > found["repeat_rate"][1] > 0


def test_baselines_rank_own_items_first_and_then_what_is_popular():
    lines = lines_of(
        ("a", "1", 3, "x"), ("a", "2", 4, "x"), ("a", "3", 5, "y"), ("b", "4", 6, "z"), ("c", "5", 7, "z"),
        ("c", "6", 40, "w"), ("b", "7", 41, "w"), ("d", "8", 42, "w"),
    )  # fmt: skip
    everybody = history(lines, ["w", "x", "y", "z"], CUT)
    bought = everybody.taken(np.array([0]))
    popular = baselines.popular_lists(everybody, bought, 28, new_only=False, places=3)
    assert popular.tolist() == [[3, 1, 2]]
    again = baselines.again_lists(everybody, bought, bought.orders.astype(float), new_only=False, places=4)
    assert again.tolist() == [[1, 2, 3, 0]]
    fresh = baselines.again_lists(everybody, bought, bought.orders.astype(float), new_only=True, places=4)
    assert fresh.tolist() == [[3, 0, -1, -1]]


def test_training_snapshots_end_before_their_outcomes_and_have_a_history():
    lines = lines_of(("a", "1", 100, "x"))
    plan = Plan(horizon_days=30, snapshot_step_days=15, snapshots=4, shortest_history_days=45)
    cuts = Fitter(lines, pd.DataFrame(), plan, seed=1).cuts(CUT)
    assert cuts == [CUT - timedelta(days=30), CUT - timedelta(days=45)]


def test_arrays_come_back_and_give_the_same_bytes():
    arrays = {
        "ids": np.array(["a", "bcd"], dtype=object),
        "numbers": np.arange(3, dtype=np.float32),
        "matrix": sparse.csr_matrix(np.array([[0, 1.5], [2, 0]], dtype=np.float32)),
    }
    content = store.dump(arrays)
    found = store.load(content)
    assert found["ids"].tolist() == ["a", "bcd"]
    assert found["numbers"].dtype == np.float32
    assert (found["matrix"] != arrays["matrix"]).nnz == 0
    assert store.dump(found) == content
