"""What paper 002 and DoDNet set otherwise than ours: options, trainings and plans of their presets."""

from __future__ import annotations

# Paper 002: embeddings of texts, sums over structures, nothing of a structure that a case does not show.
PAPER_002 = {
    "cross_entropy_weight": 1.0,
    "dice_weight": 1.0,
    "balance": "fixed",
    "output": "sigmoid",
    "embedding": "text",
    "equalized": False,
    "exclusion": False,
    "average": "sum",
    "containment_weight": 0.0,
    "decision": "leaf",
}
# How the weights rise and who predicts it does not say.
PAPER_002_TEACHER = {
    **PAPER_002,
    "decay": 0.999,
    "views": "strong",
    "wait": 0.0,
    "ramp_share": 0.1,
    "predict": "teacher",
}
PAPER_002_METHOD = {
    **PAPER_002_TEACHER,
    "low": 0.1,
    "high": 0.8,
    "temperature": 0.1,
    "sure": 0.9,
    "pieces": "all",
    "latent_weight": 1.0,
    "ambiguous_weight": 1.0,
    "negative_target": "teacher",
    "unseen": "sharpen",
    "confidence_weighted": False,
}
# 2,000 epochs of AdamW in batches of 12. How long an epoch is the paper does not say: taken for its 920 cases.
PAPER_002_TRAINING = {
    "steps": 154_000,
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "schedule": "cosine",
    "weight_decay": 1e-5,
    "gradient_clip": None,
}
# Patches of 160 x 160 in the axial plane and 96 slices. Spacing is not stated: that of the CLIP-driven model.
PAPER_002_PLAN = {
    "dimensions": 3,
    "spacing_mm": (1.5, 1.5, 1.5),
    "patch": (96, 160, 160),
    "batch": 12,
    "backbone": "swin_unetr",
    "features": (48, 96, 192, 384, 768),
    "norm": "instance",
}
DODNET_PAPER = {
    "cross_entropy_weight": 1.0,
    "dice_weight": 1.0,
    "balance": "fixed",
    "equalized": False,
    "exclusion": False,
    "average": "mean",
    "tasks": "one",
    "decision": "leaf",
}
# Flips of all three axes; four of five crops near the box of what was drawn, here centered on it.
DODNET_TRAINING = {
    "steps": 250_000,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "poly",
    "momentum": 0.99,
    "weight_decay": 0.0,
    "gradient_clip": None,
    "mirror": True,
    "target_share": 0.8,
}
DODNET_PLAN = {
    "dimensions": 3,
    "spacing_mm": (1.5, 0.8, 0.8),
    "patch": (64, 192, 192),
    "batch": 2,
    "backbone": "dodnet_unet",
    "norm": "group",
}
