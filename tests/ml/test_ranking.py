"""The fast area under the curve is scikit-learn's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from ml.ranking import roc_auc


@given(
    arrays.arrays(float, 30, elements=st.sampled_from([0.0, 1.0])),
    arrays.arrays(float, 30, elements=st.sampled_from([0.1, 0.2, 0.3, 0.7])),
)
def test_the_area_is_scikit_learns_with_ties_and_none_for_one_class(truth, prediction):
    found = roc_auc(truth, prediction)
    if len(set(truth)) == 1:
        assert found is None
    else:
        assert np.isclose(found, roc_auc_score(truth, prediction))
