"""What is asked of a run: plain data that the panel, the console and the command line write alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SemiSegLib.config import YOUNGER, check_choice, check_range
from SemiSegLib.errors import ConfigError, explain

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("poly", "linear", "cosine", "step", "constant")
NORMALIZATIONS = ("zscore", "zscore_nonzero", "ct", "unit")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and with what the networks are trained.

    Attributes:
        steps: optimizer steps, or None when ``seconds`` ends the run.
        seconds: time budget of training and validation together, or None.
        optimizer: "adamw", "adam" or "sgd".
        learning_rate: at the start.
        schedule: "poly" (power 0.9), "linear", "cosine", "step" (x 0.1 at 5/12 and 10/12) or "constant".
        warmup_steps: linear rise of the learning rate at the start.
        weight_decay: of every group.
        momentum: of "sgd".
        gradient_clip: largest gradient norm of each optimizer group (networks that step by themselves), or None.
        accumulation: batches per optimizer step.
        validate_every: steps between whole-volume validations, or None for about 12 in the run.
        checkpoint_seconds: largest time between checkpoints.
        device: "auto" takes the first of CUDA, Apple's MPS and the CPU that works.
        precision: "auto" lets timed trials choose on the CPU, and takes bf16 or fp16 on a GPU.
        channels_last: memory format, or None to let timed trials choose.
        threads: CPU threads, or None to let timed trials choose.
        deterministic: bit-identical repeats; switches the timed trials off.
        augmentation: "full", "light", "crop" (random crops alone: paper 000), "crop_turned" (these turned by quarters
            and flipped in the plane of the last two axes: paper 003) or "none".
        mirror: True flips patches along every axis; False or None along none but those of "crop_turned".
        nesterov: Nesterov's momentum of "sgd" (nnU-Net), or the plain one (released code of papers 000 and 003).
        target_share: share of the patches that are centered on a structure (nnU-Net: 1/3); the others lie anywhere.
    """

    steps: int | None = 10_000
    seconds: float | None = None
    optimizer: str = "adamw"
    learning_rate: float = 6e-3
    schedule: str = "poly"
    warmup_steps: int = 0
    weight_decay: float = 1e-2
    momentum: float = 0.99
    gradient_clip: float | None = 12.0
    accumulation: int = 1
    validate_every: int | None = None
    checkpoint_seconds: float = 60.0
    device: str = "auto"
    precision: str = "auto"
    channels_last: bool | None = None
    threads: int | None = None
    deterministic: bool = False
    augmentation: str = "full"
    mirror: bool | None = None
    nesterov: bool = field(default=True, metadata={YOUNGER: True})
    target_share: float = field(default=1 / 3, metadata={YOUNGER: True})

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise ConfigError(
                explain(
                    "a run ends by steps or by seconds", where="training settings", remedy="give exactly one of them"
                )
            )
        # None leaves a setting to the program; 0 does not.
        for name in ("steps", "seconds", "validate_every", "threads"):
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, low=1)
        check_range("checkpoint_seconds", self.checkpoint_seconds, low=0.0)
        check_range("learning_rate", self.learning_rate, low=0.0, high=1e7)
        check_range("accumulation", self.accumulation, low=1, high=1024)
        check_choice("device", self.device.split(":")[0], DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("augmentation", self.augmentation, ("full", "light", "crop", "crop_turned", "none"))
        check_range("target_share", self.target_share, low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """What a person may fix of the plan; everything left at None is planned from the data.

    Networks of papers have features, norm or depth of supervision of their own: another value is refused when the plan
    is made, see ``planning.fixed_backbones``.

    Attributes:
        dimensions: 2 or 3.
        spacing_mm: of the plan grid, per plan axis.
        patch: voxels per network axis.
        batch: rows.
        backbone: registered backbone name.
        features: channels per stage.
        norm: "instance", "batch" or "group".
        deep_supervision: number of lower resolutions with a loss of their own.
        memory_gib: memory budget of one training step, or None for three quarters of what the device has free.
        dropout: probability, 0 to 1, or None for none; doubt by several random passes needs some. Networks of papers
            that have their own keep it.
        normalization: of every channel, see ``planning.plan.ChannelPlan``, or None for what modality and content ask
            for.
        window: intensities (HU of a CT) that channels with normalization "ct" are clipped to and scaled from, to 0 to
            1, such as -175 and 250 for abdominal organs; None for percentiles of the annotated foreground.
    """

    dimensions: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    patch: tuple[int, ...] | None = None
    batch: int | None = None
    backbone: str | None = None
    features: tuple[int, ...] | None = None
    norm: str | None = None
    deep_supervision: int | None = None
    memory_gib: float | None = None
    dropout: float | None = field(default=None, metadata={YOUNGER: True})
    normalization: str | None = field(default=None, metadata={YOUNGER: True})
    window: tuple[float, float] | None = field(default=None, metadata={YOUNGER: True})

    def __post_init__(self) -> None:
        check_range("dropout", self.dropout or 0.0, low=0.0, high=1.0)
        check_choice("normalization", self.normalization or "ct", NORMALIZATIONS)
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ConfigError(
                explain(
                    f"the intensity window {self.window} has no width", where="window", remedy="give low, then high"
                )
            )


@dataclass(frozen=True, kw_only=True)
class PresenceSettings:
    """How the network is trained that tells which structures an image holds: the stage "presence" of a run.

    Attributes:
        share: of the run's budget. Seconds are taken from the run's; steps come on top of them, as they cost less.
        width: channels relative to ResNet-18; None is 1 (paper 002) on a GPU and 0.25 on a CPU, where a step of the
            whole network takes 6 s (4 rows of 40 x 56 x 40 voxels on two cores).
        stem_stride: of the first convolution; None is 1 (MONAI's) on a GPU and 2 (ResNet's own) on a CPU.
        norm: "group" (ours: the statistics of the few rows of a batch are too noisy to calibrate) or "batch" (paper).
        learning_rate: at the start of AdamW with a cosine schedule; 1e-4 in paper 002, which trains 2000 epochs.
        weight_decay: 1e-5 in paper 002.
        minimum_voxels: a structure is in a patch from this number of voxels on ...
        minimum_share: ... and from this share of its usual size on, whichever is more; see Documentation/presence.md.
        classes: structure of the study to the classes of a given network that tell of it, where names do not.
    """

    share: float = 0.1
    width: float | None = None
    stem_stride: int | None = None
    norm: str = "group"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    minimum_voxels: int = 50
    minimum_share: float = 0.001
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("share", self.share, low=0.01, high=0.9)
        check_range("width", 1.0 if self.width is None else self.width, low=0.125, high=4.0)
        check_range("stem_stride", 1 if self.stem_stride is None else self.stem_stride, low=1, high=4)
        check_choice("norm", self.norm, ("group", "batch"))
        check_range("learning_rate", self.learning_rate, low=0.0, high=10.0)
        check_range("minimum_voxels", self.minimum_voxels, low=1)
        check_range("minimum_share", self.minimum_share, low=0.0, high=1.0)


# Values of a method's option "embedding" that need vectors from outside.
OUTSIDE_EMBEDDINGS = ("text", "file")


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """Where the vectors of structures come from, for methods whose option ``embedding`` is "text" or "file".

    Attributes:
        file: of vectors by name, ``.json`` or ``.safetensors``.
        prompt: sentence that the text encoder reads, with ``{item}`` for the name; None is the one for CT or for MR.
        encoder: folder of the text encoder, or None for one of the user's cache.
        fetch: whether the text encoder may be fetched (784 MB, once) if it is not there.
        otherwise: the embedding to take where these vectors cannot be had, for example "learned"; None ends the run.
    """

    file: str | None = None
    prompt: str | None = None
    encoder: str | None = None
    fetch: bool = False
    otherwise: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run: data, method, plan and training. This is ``request.json``.

    Attributes:
        dataset: path of the dataset's folder or dataset.json; made absolute when the run is created.
        method: registered method name.
        preset: name of a preset of the method, or None for its defaults.
        options: option values that differ from preset or default.
        plan: what is fixed of the plan.
        training: how long and with what.
        fine_cases: keep fine labels of only these cases (for comparisons), or None to take the dataset as it is.
        other_labels: what the other fully labeled training cases keep then: "coarse" or "none".
        drawn: patient to the one structure that stays drawn in his fully labeled training cases (for comparisons), or
            None to take the dataset as it is.
        undrawn: what partial labels say of structures that were not drawn: "unknown", or "background" (naive; for
            comparisons).
        embeddings: where vectors of structures come from.
        use_regimes: train on cases of these regimes only, or None for all the method uses.
        seed: of the split (first run only), sampling, augmentation and initialization.
        validation_share: share of the labeled patients kept for validation when the dataset has no split.
        warm_start: model file to start from, or None.
        renamed: with ``warm_start``, structure to its name in the earlier model.
        merged: with ``warm_start``, structure to those of the earlier model that it is made of.
        presence_model: file of a network that tells which structures an image holds, for methods that need one; None
            trains it first.
        presence: how it is trained.
        after: folder of the run that must have ended, however it ends, before this one begins, or None.
        compare_with: folder of the run whose model is compared with this one's when this one is done, or None; the
            split is then that run's.
        prepared_folder: where prepared cases are cached; None puts them beside the run folder.
        title: a name for people.
        id: unique mark of the run, given when its folder is made; every result carries it.
    """

    dataset: str
    method: str
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: PlanSettings = PlanSettings()
    training: TrainingSettings = TrainingSettings()
    fine_cases: tuple[str, ...] | None = None
    other_labels: str = "coarse"
    use_regimes: tuple[str, ...] | None = None
    seed: int = 0
    validation_share: float = 0.2
    warm_start: str | None = None
    prepared_folder: str | None = None
    title: str = ""
    id: str = ""
    drawn: Mapping[str, str] | None = field(default=None, metadata={YOUNGER: True})
    undrawn: str = field(default="unknown", metadata={YOUNGER: True})
    embeddings: EmbeddingSettings = field(default=EmbeddingSettings(), metadata={YOUNGER: True})
    presence_model: str | None = field(default=None, metadata={YOUNGER: True})
    presence: PresenceSettings = field(default=PresenceSettings(), metadata={YOUNGER: True})
    renamed: Mapping[str, str] = field(default_factory=dict, metadata={YOUNGER: True})
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict, metadata={YOUNGER: True})
    after: str | None = field(default=None, metadata={YOUNGER: True})
    compare_with: str | None = field(default=None, metadata={YOUNGER: True})

    def __post_init__(self) -> None:
        check_choice("other_labels", self.other_labels, ("coarse", "none"))
        check_choice("undrawn", self.undrawn, ("unknown", "background"))
        if (self.renamed or self.merged) and self.warm_start is None:
            raise ConfigError(
                explain(
                    "there is no earlier model whose structures could be renamed or merged",
                    where="request: renamed, merged",
                    remedy="name the earlier model's file as 'warm_start', or leave both out",
                )
            )
        if both := set(self.renamed) & set(self.merged):
            raise ConfigError(
                explain(
                    f"'{min(both)}' is both renamed and merged",
                    where="request: renamed, merged",
                    remedy="name each structure of this study in one of them",
                )
            )
