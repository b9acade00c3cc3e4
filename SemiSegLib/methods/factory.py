"""From a method's name and options to the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SemiSegLib.config import check_choice, check_range, from_json
from SemiSegLib.errors import ConfigError, did_you_mean, explain
from SemiSegLib.methods.adversarial.attention_adversarial import AttentionAdversarial
from SemiSegLib.methods.adversarial.shape_aware_adversarial import ShapeAwareAdversarial
from SemiSegLib.methods.catalogue import Card
from SemiSegLib.methods.cross.cross_pseudo_supervision import CrossPseudoSupervision
from SemiSegLib.methods.dual.dual_task_consistency import DualTaskConsistency
from SemiSegLib.methods.dual.dual_task_mutual_learning import DualTaskMutualLearning
from SemiSegLib.methods.latent.dodnet import Dodnet
from SemiSegLib.methods.latent.dynamic_head import DynamicHeadMethod
from SemiSegLib.methods.latent.latent_classes import LatentClasses
from SemiSegLib.methods.latent.roi_mean_teacher import RoiMeanTeacher
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.methods.subclass.efficient_subclass import EfficientSubclass
from SemiSegLib.methods.subclass.marginal import Marginal
from SemiSegLib.methods.subclass.modified_unet import ModifiedUNet
from SemiSegLib.methods.subclass.negative_learning import NegativeLearning
from SemiSegLib.methods.subclass.supervised import Supervised
from SemiSegLib.methods.teachers.double_uncertainty import DoubleUncertainty
from SemiSegLib.methods.teachers.mean_teacher import MeanTeacher
from SemiSegLib.methods.teachers.transformation_consistent import TransformationConsistent
from SemiSegLib.methods.teachers.uncertainty_aware_mean_teacher import UncertaintyAwareMeanTeacher
from SemiSegLib.registry import Registry

# A method class has its options' dataclass as ``Options`` and is made from a study and such options.
METHODS: Registry[Any] = Registry("method")
METHODS.register("supervised")(Supervised)
METHODS.register("marginal")(Marginal)
METHODS.register("modified_unet")(ModifiedUNet)
METHODS.register("negative_learning")(NegativeLearning)
METHODS.register("efficient_subclass")(EfficientSubclass)
METHODS.register("dynamic_head")(DynamicHeadMethod)
METHODS.register("dodnet")(Dodnet)
METHODS.register("roi_mean_teacher")(RoiMeanTeacher)
METHODS.register("latent_classes")(LatentClasses)
METHODS.register("mean_teacher")(MeanTeacher)
METHODS.register("uncertainty_aware_mean_teacher")(UncertaintyAwareMeanTeacher)
METHODS.register("transformation_consistent")(TransformationConsistent)
METHODS.register("double_uncertainty")(DoubleUncertainty)
METHODS.register("dual_task_consistency")(DualTaskConsistency)
METHODS.register("dual_task_mutual_learning")(DualTaskMutualLearning)
METHODS.register("shape_aware_adversarial")(ShapeAwareAdversarial)
METHODS.register("attention_adversarial")(AttentionAdversarial)
METHODS.register("cross_pseudo_supervision")(CrossPseudoSupervision)


def build_method(name: str, study: Study, options: Mapping[str, Any]) -> Method:
    """Return a freshly initialized method, on the CPU.

    Args:
        name: registered name.
        study: label scheme and plan.
        options: every option that differs from its default, as plain JSON values.

    Raises:
        ConfigError: the name or an option is unknown, or a value is out of range.
    """
    cls = METHODS[name]
    chosen = from_json(cls.Options, dict(options), where=f"options of {name}")
    built: Method = cls(study, chosen)
    built.decision = chosen.decision
    return built


def resolve_options(card: Card, preset: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every option: the default, over it the preset's, over it the given one.

    Args:
        card: of the method.
        preset: name of a preset, or None for the defaults.
        options: what was asked for.

    Raises:
        ConfigError: the preset or an option is unknown, or a value is out of range.
    """
    if preset is not None and preset not in card.presets:
        remedy = did_you_mean(preset, card.presets)
        raise ConfigError(explain(f"'{preset}' is not a preset of {card.name}", where="preset", remedy=remedy))
    known = {option.name: option for option in card.options}
    for name in options:
        if name not in known:
            remedy = did_you_mean(name, known)
            raise ConfigError(explain(f"'{name}' is not an option of {card.name}", where="options", remedy=remedy))
    chosen = {**(card.presets[preset] if preset else {}), **options}
    resolved = {name: chosen.get(name, option.default) for name, option in known.items()}
    for name, value in resolved.items():
        option = known[name]
        if option.choices:
            check_choice(name, str(value), option.choices)
        if option.low is not None and option.high is not None:
            check_range(name, _number(name, value), low=option.low, high=option.high)
    return resolved


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(explain(f"{name} is {value!r}", where=name, remedy="give a number"))
    return float(value)
