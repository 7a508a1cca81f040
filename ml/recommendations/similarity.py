"""Items that go together: matrices (items x items) whose entry (j, i) is what a purchase of j says for i.

Each keeps the strongest sources of every item only, so that artefacts stay small, and holds no customer's row.
A customer's scores are the customer's row (customers x items) times such a matrix.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import linalg, sparse

PRICE_BANDS = 10
TEXT_TERMS = 5_000


def ease(purchases: sparse.csr_matrix, regularisation: float, neighbours: int) -> sparse.csr_matrix:
    """EASE, the linear autoencoder with a zero diagonal (Steck 2019, "Embarrassingly Shallow Autoencoders", eq. 8).

    ``purchases``: (customers, items). With P = (X'X + lambda I)^-1, B = I - P / diag(P) by columns.
    """
    gram = _gram(purchases)
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights = inverse / -np.diag(inverse)[np.newaxis, :]
    np.fill_diagonal(weights, 0.0)
    return strongest(weights, neighbours)


def item_item(purchases: sparse.csr_matrix, shrinkage: float, neighbours: int) -> sparse.csr_matrix:
    """Cosine of the items' columns, damped where few bought both: G_ji / (|j| |i| + shrinkage); zero diagonal.

    ``shrinkage``: in customers; Sarwar et al. 2001, damping as in Koren 2008.
    """
    gram = _gram(purchases)
    length = np.sqrt(np.diag(gram))
    weights = gram / (np.outer(length, length) + shrinkage)
    np.fill_diagonal(weights, 0.0)
    return strongest(weights, neighbours)


def user_user(purchases: sparse.csr_matrix, neighbours: int) -> sparse.csr_matrix:
    """What all neighbours of a customer bought, each weighted by the cosine between the two.

    The sum over neighbours v of cos(u, v) x_v is x_u (sum_v x_v x_v' / |x_v|) / |x_u|: the bracket is one
    matrix of items, and no neighbour's row has to be kept. |x_u| scales a customer's scores and ranks nothing.
    """
    length = np.sqrt(np.asarray(purchases.multiply(purchases).sum(axis=1)).ravel())
    scale = sparse.diags(np.divide(1.0, length, out=np.zeros_like(length), where=length > 0))
    weights = (purchases.T @ (scale @ purchases)).toarray().astype(float)
    np.fill_diagonal(weights, 0.0)
    return strongest(weights, neighbours)


def content(products: pd.DataFrame, sources: np.ndarray, targets: np.ndarray, neighbours: int) -> sparse.csr_matrix:
    """Cosine of what products are: words of the name (TF-IDF, weight 0.7), category (0.2) and price band (0.1).

    ``products``: ``product_name``, ``category``, ``price`` in the catalogue's order; ``sources``: the items that say
    something, ``targets``: those that may be recommended, both by number. Returns (items, targets); an item says
    nothing for itself.
    """
    described = described_products(products)
    saying = described[sources]
    place = np.full(len(products), -1)
    place[sources] = np.arange(len(sources))
    blocks = []
    for begin in range(0, len(targets), 500):
        chosen = targets[begin : begin + 500]
        weights = (saying @ described[chosen].T).toarray()
        itself = np.flatnonzero(place[chosen] >= 0)
        weights[place[chosen][itself], itself] = 0.0
        blocks.append(strongest(weights, neighbours).tocoo())
    shape = (len(products), len(targets))
    if not blocks:
        return sparse.csr_matrix(shape, dtype=np.float32)
    weights = sparse.hstack(blocks).tocoo()
    return sparse.csr_matrix((weights.data, (sources[weights.row], weights.col)), shape=shape, dtype=np.float32)


def described_products(products: pd.DataFrame) -> sparse.csr_matrix:
    """Rows of length up to 1: words, category and price band of each product; what is unknown is left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = products["product_name"].fillna("").astype(str)
    parts = []
    if names.str.contains(r"\w\w", regex=True).any():
        words = TfidfVectorizer(lowercase=True, sublinear_tf=True, max_features=TEXT_TERMS, dtype=np.float32)
        parts.append(words.fit_transform(names) * np.float32(np.sqrt(0.7)))
    category = pd.factorize(products["category"], sort=True)[0]
    parts.append(_indicator(category, np.sqrt(0.2)))
    price = products["price"].to_numpy(dtype=float)
    known = np.isfinite(price)
    band = np.full(len(price), -1)
    if known.any():
        edges = np.unique(np.quantile(price[known], np.linspace(0, 1, PRICE_BANDS + 1)[1:-1]))
        band[known] = np.searchsorted(edges, price[known], side="right")
    parts.append(_indicator(band, np.sqrt(0.1)))
    return sparse.hstack(parts, format="csr", dtype=np.float32)


def strongest(weights: np.ndarray, neighbours: int) -> sparse.csr_matrix:
    """The entries of largest size in each column, the rest 0; among equals those of the smaller row number."""
    count = weights.shape[0]
    if neighbours < count:
        size = np.abs(weights)
        bar = np.partition(size, count - neighbours, axis=0)[count - neighbours]
        weights = np.where(size >= np.maximum(bar, np.finfo(np.float32).tiny), weights, 0.0)
    result = sparse.csr_matrix(weights, dtype=np.float32)
    result.eliminate_zeros()
    result.sort_indices()
    return result


def _gram(purchases: sparse.csr_matrix) -> np.ndarray:
    return (purchases.T @ purchases).toarray().astype(float)


def _indicator(code: np.ndarray, weight: float) -> sparse.csr_matrix:
    rows = np.flatnonzero(code >= 0)
    shape = (len(code), int(code.max(initial=-1)) + 1)
    return sparse.csr_matrix((np.full(len(rows), weight, np.float32), (rows, code[rows])), shape=shape)
