"""From answers for each structure to probabilities of leaves, and back from a softmax."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.latent.leaves import leaf_probability, roi_logits_of, with_background
from SemiSegLib.methods.latent.roi_terms import binary_entropy


def table(*pairs):
    return RoiTable.of(LabelScheme(name="t", structures=tuple(Structure(name=n, parent=p) for n, p in pairs)))


FLAT = table(("a", None), ("b", None), ("c", None))
TREE = table(
    ("tumor", "liver"), ("liver", None), ("rest", "liver"), ("lobe", "lung"), ("lung", None), ("top", "lobe"),
    ("low", "lobe"), ("other", "lung"), ("alone", None),
)  # fmt: skip
TABLES = [FLAT, TREE, table(("only", None)), table(("a", None), ("b", "a"), ("c", "a"))]


def leaves(rois, *probabilities):
    values = torch.tensor(probabilities, dtype=torch.float64).logit().float()
    return leaf_probability(values.view(1, -1, 1), rois)[0, :, 0]


def said_by_thresholds(rois, probabilities):
    """The leaf that thresholds of 0.5 name, 0 for none at all, or None where they name several or only a whole."""
    above = {k for k, q in enumerate(probabilities) if q > 0.5}
    if not above:
        return 0
    chains = []
    for leaf, k in enumerate(rois.leaf_rois, start=1):
        chain, parent = {k}, rois.parents[k]
        while parent >= 0:
            chain.add(parent)
            parent = rois.parents[parent]
        chains.append((leaf, chain))
    return next((leaf for leaf, chain in chains if chain == above), None)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TABLES), st.data())
def test_the_likeliest_leaf_is_what_thresholds_say_where_they_name_one(rois, data):
    near = st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.02, 0.49, 0.51, 0.98]))
    probabilities = data.draw(st.lists(near, min_size=len(rois), max_size=len(rois)))
    found = leaves(rois, *probabilities)
    assert found.sum().item() == pytest.approx(1, abs=1e-5)
    assert (found >= 0).all()
    expected = said_by_thresholds(rois, probabilities)
    if expected is not None and min(abs(q - 0.5) for q in probabilities) > 1e-3:
        assert found.argmax().item() == expected


def test_thresholds_name_leaves_as_the_test_thinks():
    assert said_by_thresholds(TREE, [0.1] * 9) == 0
    assert said_by_thresholds(TREE, [0.9, 0.9, *[0.1] * 7]) == 1
    assert said_by_thresholds(TREE, [0.9, *[0.1] * 8]) is None
    assert said_by_thresholds(TREE, [0.9, 0.9, 0.9, *[0.1] * 6]) is None


def test_dividing_in_proportion_would_hide_a_part_that_thresholds_name():
    # Whole 0.6, parts 0.55 and 0.3: in proportion 0.6 * 0.55 / 0.85 = 0.39, less than the background's 0.4.
    assert leaves(TABLES[3], 0.6, 0.55, 0.3).tolist() == pytest.approx([0.4, 0.55, 0.05], abs=1e-5)


def test_one_structure_alone_keeps_its_probability():
    assert leaves(FLAT, 0.3, 1e-9, 1e-9).tolist() == pytest.approx([0.7, 0.3, 0, 0], abs=1e-6)
    assert leaves(FLAT, 0.8, 1e-9, 0.8).tolist() == pytest.approx([1 / 9, 4 / 9, 0, 4 / 9], abs=1e-6)


def test_without_a_tree_it_is_the_softmax_beside_background():
    logits = torch.randn(2, 3, 4, 5)
    assert torch.allclose(leaf_probability(logits, FLAT), with_background(logits).softmax(1), atol=1e-6)


def test_a_part_outside_its_whole_is_cut_and_a_whole_is_never_without_a_leaf():
    # A part of 0.9 in a whole of 0.2 is at most 0.2, and nothing is left for the other part.
    assert leaves(TABLES[3], 0.2, 0.9, 0.1).tolist() == pytest.approx([0.8, 0.2, 0.0], abs=1e-5)
    # Parts of 0.3 and 0.1 in a whole of 0.8 are raised to 0.6 and 0.2.
    assert leaves(TABLES[3], 0.8, 0.3, 0.1).tolist() == pytest.approx([0.2, 0.6, 0.2], abs=1e-5)


@pytest.mark.parametrize("rois", TABLES)
@pytest.mark.parametrize("size", [1e4, 6e4])
def test_answers_of_any_size_and_precision_stay_probabilities(rois, size):
    signs = torch.randint(0, 3, (50, len(rois), 1), generator=torch.Generator().manual_seed(0)) - 1.0
    found = leaf_probability((signs * size).half(), rois)
    assert found.isfinite().all()
    assert torch.allclose(found.sum(1), torch.ones(50, 1), atol=1e-5)


def test_a_structure_of_a_softmax_is_the_sum_of_its_leaves():
    members = torch.from_numpy(TREE.members.copy())
    logits = with_background(2 * torch.randn(3, TREE.leaf_count - 1, 4))
    found = roi_logits_of(logits, members)
    expected = torch.matmul(members.float(), logits.softmax(1))
    assert torch.allclose(found.sigmoid(), expected, atol=1e-6)
    # A leaf's logit beside background alone is its own.
    one = roi_logits_of(with_background(torch.tensor([[[40.0, -40.0]]])), torch.tensor([[False, True]]))
    assert one.flatten().tolist() == pytest.approx([40.0, -40.0])


def test_odds_of_a_softmax_stay_finite_with_their_gradient():
    logits = torch.tensor([[500.0], [-500.0], [0.0]]).T.reshape(1, 3, 1).requires_grad_()
    found = roi_logits_of(with_background(logits), torch.from_numpy(FLAT.members.copy()))
    found.sum().backward()
    assert found.isfinite().all()
    assert logits.grad.isfinite().all()


def test_entropy_of_an_answer_is_a_share_of_ln_2():
    found = binary_entropy(torch.tensor([0.0, math.log(3), -math.log(3), math.inf, -math.inf, 300.0]))
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found.tolist() == pytest.approx([1, quarter, quarter, 0, 0, 0], abs=1e-6)
