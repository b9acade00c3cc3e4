"""What partly drawn scans of three sites are worth: less than complete ones, more than if undrawn were background.

The same trainings with three seeds of cohort and training: ``Testing/benchmarks/three_sites.py``; the numbers are in
``Resources/Documentation/partial_labels.md``.
"""

import pytest

from Testing.lib.site_lines import LINES, judged, mean_dice, mean_of_leaves, train_line, write_both

# The trainings are the set-up of the first test; a busy machine may need several times as long as a free one.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def dice(tmp_path_factory):
    """Dice of each structure on the test scans, by line; trained at the size of a test."""
    folder = tmp_path_factory.mktemp("sites")
    data = write_both(folder)
    found = {}
    for name, line in LINES.items():
        root = data[line.is_drawn].root
        found[name] = mean_dice(train_line(folder / "runs", root, name), root)
    return found


def test_undrawn_as_background_is_clearly_worse_than_undrawn_as_unknown(dice):
    # Measured with three seeds: 0.11 to 0.17.
    assert judged(dice["naive"]) < judged(dice["baseline"]) - 0.07


def test_everything_drawn_is_worth_more_than_what_three_sites_drew(dice):
    # Measured with three seeds: 0.06 to 0.14 more than the baseline, 0.03 to 0.11 more than latent classes.
    assert judged(dice["baseline"]) <= judged(dice["upper"])
    assert judged(dice["latent"]) <= judged(dice["upper"])


def test_latent_classes_learn_no_less_than_the_baseline_from_the_same_drawings(dice):
    # Measured with three seeds: 0.00 to 0.03 more, and 0.15 to 0.17 more than the naive reading. With two threads,
    # which round otherwise, the first seed has 0.006 less: how a training ends by chance is allowed for.
    assert judged(dice["latent"]) >= judged(dice["baseline"]) - 0.03
    assert judged(dice["latent"]) > judged(dice["naive"]) + 0.08


def test_latent_classes_lose_little_over_all_structures(dice):
    # Measured with three seeds: 0.057 and 0.024 less, 0.004 more; the first one with two threads: 0.105 less. It is
    # lost in head and tail, which differ in texture alone and which no line learns in so few steps: whether the tail is
    # found at all is chance. After 1,500 steps the two lines are 0.01 to 0.02 apart.
    assert mean_of_leaves(dice["latent"]) >= mean_of_leaves(dice["baseline"]) - 0.15


def test_over_all_four_structures_naive_is_below_the_baseline_and_that_not_above_ours(dice):
    # Measured with three seeds: the baseline 0.06 to 0.08 above the naive reading, ours 0.03 to 0.14 above that.
    assert mean_of_leaves(dice["naive"]) < mean_of_leaves(dice["baseline"]) - 0.03
    assert mean_of_leaves(dice["baseline"]) <= mean_of_leaves(dice["narrowed"])


def test_ours_loses_little_of_what_one_site_of_three_drew(dice):
    # Measured with three seeds: 0.09 to 0.18 more than the naive reading, 0.00 more to 0.09 less than the baseline.
    assert judged(dice["narrowed"]) > judged(dice["naive"]) + 0.08
    assert judged(dice["narrowed"]) >= judged(dice["baseline"]) - 0.12
    assert judged(dice["narrowed"]) <= judged(dice["upper"])
