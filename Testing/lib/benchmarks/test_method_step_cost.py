"""What the table of steps measures, and what it makes of the numbers."""

from dataclasses import asdict

import method_step_cost
import method_steps
import pytest
import torch
from method_step_cost import cells, kept, page, presets_of
from method_steps import SIZES, Row, batch_of, measure, study_of

from SemiSegLib.config import write_json
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.training.instructions import Bf16Support

MACHINE = {"processor": "p", "cores": 2, "system": "s", "python": "3", "packages": {"torch": "2"}, "commit": "c"}


def row(**changes):
    plain = {"size": "2d_24", "method": "efficient_subclass", "preset": "paper", "compute": "fp32", "device": "cpu"}
    return Row(**{**plain, "threads": 1, "steps": 2, **changes})


def test_every_method_is_measured_with_the_presets_of_a_network_or_with_its_defaults():
    for card in CARDS:
        for name, size in SIZES.items():
            for preset in presets_of(card, size):
                backbone = card.plan.get(preset, {}).get("backbone")
                assert preset == "ours" or card.name == "supervised" or backbone == size.backbone, (card.name, name)
        assert any(presets_of(card, size) for size in SIZES.values()), card.name
    assert presets_of(card_of("shape_aware_adversarial"), SIZES["3d_64"]) == ["paper", "code"]
    assert presets_of(card_of("shape_aware_adversarial"), SIZES["2d_8"]) == []
    assert presets_of(card_of("marginal"), SIZES["2d_8"]) == ["ours"]


def test_released_figures_are_of_sizes_and_methods_that_exist():
    for size, method in method_step_cost.RELEASED:
        assert presets_of(card_of(method), SIZES[size])


def test_a_line_of_the_table_is_worked_by_hand():
    # Medians of 4, 5, 9 and of the factors 4 / 2, 5 / 2, 9 / 3; released 15.5 s and 4.4 GiB.
    line = cells(row(), {"seconds": [4.0, 9.0, 5.0], "plain": [2.0, 3.0, 2.0], "gib": 1.5})
    assert line == ["efficient_subclass", "paper", "fp32", 5.0, "4 to 9", 1.5, 2.5, 15.5, 4.4, pytest.approx(3.1)]
    assert cells(row(method="marginal"), {"seconds": [4.0], "plain": [2.0], "gib": 1.5})[-3:] == [None] * 3
    # Released code was timed on a CPU.
    assert cells(row(device="cuda"), {"seconds": [4.0], "plain": [2.0], "gib": 1.5})[-1] is None
    assert cells(row(), {"failed": "RuntimeError: no"})[3] == "failed"


def test_a_quick_trial_says_that_it_is_one():
    found = {"seconds": [1.0], "plain": [1.0], "gib": 0.1}
    quick, real = (page([(row(size=size), found)], MACHINE, "command") for size in ("quick_2d", "2d_8"))
    assert "say nothing about others" in quick
    assert "say nothing about others" not in real
    assert "3.41" in real


@pytest.mark.parametrize("name", ["quick_2d", "quick_3d"])
def test_rows_that_are_not_fully_labeled_tell_no_leaf(name):
    size = SIZES[name]
    scheme = study_of(size).scheme
    made = batch_of(size, scheme, maps=("signed_distance",), is_full=False)
    sizes = made.label_sets.sum(1)
    assert (sizes[made.codes[: size.labeled]] == 1).all()
    others = made.codes[made.rows[size.regime]]
    leaves = len(scheme.leaf_names)
    allowed = {1, leaves - 1} if size.regime is Regime.COARSE else {leaves}
    assert set(sizes[others].unique().tolist()) == allowed
    assert not made.maps["signed_distance_known"][size.labeled :].any()
    full = batch_of(size, scheme, maps=(), is_full=True)
    assert (full.label_sets.sum(1)[full.codes] == 1).all()
    assert torch.equal(full.image, made.image)


def test_rows_of_an_earlier_call_are_kept_on_the_same_machine_unless_they_failed(tmp_path):
    found, path = {"seconds": [1.0], "plain": [1.0], "gib": 0.1}, tmp_path / "cost.json"
    assert kept(path, MACHINE) == {}
    lines = [asdict(row()) | found, asdict(row(compute="bf16")) | {"failed": "no memory"}]
    write_json(path, {"command": "command", "machine": MACHINE, "rows": lines})
    assert list(kept(path, MACHINE)) == [row()]
    assert cells(row(), kept(path, MACHINE)[row()]) == cells(row(), found)
    # Each row says of which commit it is; another machine has other numbers.
    assert list(kept(path, {**MACHINE, "commit": "d"})) == [row()]
    assert kept(path, {**MACHINE, "cores": -1}) == {}


def test_steps_and_plain_steps_take_turns():
    found = measure(row(size="quick_2d", method="modified_unet", threads=torch.get_num_threads()))
    assert len(found["seconds"]) == len(found["plain"]) == 2
    assert min(found["seconds"] + found["plain"]) > 0
    assert found["gib"] >= 0


def test_bf16_is_measured_where_the_machine_runs_it(monkeypatch):
    for works, expected in ((True, ["fp32", "bf16"]), (False, ["fp32"])):
        monkeypatch.setattr(method_steps, "try_bf16", lambda works=works: Bf16Support(works=works, limit=None))
        assert method_steps.usable(["fp32", "bf16"], "cpu") == expected
    assert method_steps.usable(["bf16"], "cuda") == ["bf16"]
