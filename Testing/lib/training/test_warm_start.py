from types import SimpleNamespace

import pytest
import torch
from torch import nn

from SemiSegLib.errors import CheckpointError
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.method import Method
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceShape
from SemiSegLib.training.warm_start import warm_start

BEFORE = LabelScheme(
    name="before", structures=(Structure(name="organ", color=(1, 0, 0)), Structure(name="vessel", color=(0, 0, 1)))
)
AFTER = LabelScheme(
    name="after",
    structures=(
        Structure(name="organ", color=(1, 0, 0)),
        Structure(name="head", color=(1, 1, 0), parent="organ"),
        Structure(name="tail", color=(1, 0, 1), parent="organ"),
        Structure(name="nerve", color=(0, 1, 0)),
    ),
)


class Small(Method):
    def __init__(self, scheme, *, width=3, seed=0):
        super().__init__()
        self.names = scheme.leaf_names
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Conv3d(1, width, 3, padding=1)
            self.head = nn.Conv3d(width, len(self.names), 1)

    def losses(self, batch, progress):
        yield from ()

    def predict(self, image):
        return self.head(self.body(image)).softmax(1)

    def warm_start_rows(self):
        return {"head.weight": self.names, "head.bias": self.names}


def a_donor(method, scheme=BEFORE, **provenance):
    return SimpleNamespace(method=method, study=SimpleNamespace(scheme=scheme), provenance=provenance)


def test_a_split_class_starts_from_its_parent_with_the_same_probability():
    old, new = Small(BEFORE, seed=1), Small(AFTER, seed=2)
    with torch.no_grad():
        # A class that is new must not take part in the comparison.
        new.head.bias[new.names.index("nerve")] = -100.0
        old.head.bias[old.names.index("vessel")] = -100.0
    table = warm_start(new, AFTER, a_donor(old))
    image = torch.randn(2, 1, 4, 5, 6)
    before, after = old.predict(image), new.predict(image)
    head, tail = new.names.index("head"), new.names.index("tail")
    torch.testing.assert_close(after[:, head] + after[:, tail], before[:, old.names.index("organ")], rtol=0, atol=1e-5)
    assert table.inherited == {"head": "organ", "tail": "organ"}
    assert table.new == ("head.weight: nerve", "head.bias: nerve")
    assert table.dropped == ("vessel",)
    assert table.origins == {"background": ("background",), "head": ("organ",), "tail": ("organ",), "nerve": ()}
    assert table.dropped_structures == ("vessel",)
    assert set(table.copied) == {"body.weight", "body.bias", "head.weight", "head.bias"}


def test_the_same_scheme_gives_the_same_model():
    old, new = Small(BEFORE, seed=1), Small(BEFORE, seed=2)
    warm_start(new, BEFORE, a_donor(old))
    image = torch.randn(1, 1, 4, 4, 4)
    assert torch.equal(old.predict(image), new.predict(image))


def test_nothing_that_fits_is_an_error_with_a_remedy():
    with pytest.raises(CheckpointError, match="same backbone"):
        warm_start(Small(BEFORE, width=3), BEFORE, a_donor(_Other()))


class _Other(Small):
    def __init__(self):
        super().__init__(AFTER, width=7)
        self.other = nn.Linear(2, 2)
        del self.body


def test_structures_with_any_name_are_told_as_kept_new_or_dropped():
    red = (1, 0, 0)
    before = LabelScheme(name="a", structures=(Structure(name="N. opticus", color=red), Structure(name="x", color=red)))
    after = LabelScheme(name="b", structures=(Structure(name="Level: 2", color=red), Structure(name="x", color=red)))
    table = warm_start(Small(after), after, a_donor(Small(before), before))
    assert table.origins == {"background": ("background",), "Level: 2": (), "x": ("x",)}
    assert table.dropped_structures == ("N. opticus",)
    assert table.structures() == "kept: background, x; new: Level: 2; dropped: N. opticus"


def test_a_validation_patient_the_earlier_model_was_trained_on_is_told():
    table = warm_start(Small(BEFORE), BEFORE, a_donor(Small(BEFORE), trained_on=["aa", "bb"]))
    assert "1 of the patients that validate" in table.notices({"bb", "cc"})[2]
    assert table.notices({"cc"})[1:] == ["warm start: kept: background, organ, vessel"]


def test_the_presence_network_of_the_run_is_left_as_it_is():
    shape = PresenceShape(classes=("organ",), channels=1, dimensions=3, width=0.125)
    old, new = Small(BEFORE, seed=1), Small(BEFORE, seed=2)
    for method in (old, new):
        method.presence = PresenceModel(PresenceDescription(shape=shape, classes_of={"organ": ("organ",)}))
    own = {name: value.clone() for name, value in new.presence.state_dict().items()}
    table = warm_start(new, BEFORE, a_donor(old))
    assert torch.equal(new.body.weight, old.body.weight)
    assert all(torch.equal(own[name], value) for name, value in new.presence.state_dict().items())
    assert not any(name.startswith("presence.") for name in (*table.copied, *table.new))
