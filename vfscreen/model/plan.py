"""What a training does, in numbers."""

from dataclasses import dataclass, field

from vfscreen.model.augmentation import Variation


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the loop does. Shares are of the whole training, 0..1."""

    steps: int | None = None
    minutes: float | None = None
    groups_per_batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up: float = 0.06
    label_smoothing: float = 0.02
    positive_weight: float = 2.0
    dense_weight: float = 1.0
    pair_weight: float = 0.5
    negative_pair_weight: float = 0.3
    sparsity: float = 0.84
    prune_from: float = 0.3
    prune_until: float = 0.7
    mask_steps: int = 20
    ema_steps: float = 300.0
    # Until this share of the training only a strip of the film around the finding is shown: the
    # network is convolutional, and a strip costs its share of the film.
    focus_until: float = 0.0
    focus_width: float = 3 / 7
    statistics_passes: int = 60
    seed: int = 0
    variation: Variation = field(default_factory=Variation)
