"""What a training does, in numbers."""

from dataclasses import dataclass

from vfscreen.model.augmentation import VARIATIONS

BALANCES = ("none", "sampling", "weights")
KEEPS = ("best", "last")


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the loop does. Shares are of the whole training, 0..1.

    Exactly one of `epochs`, `steps` and `minutes` bounds the training. With `minutes` the
    schedule follows the clock, so only the others give the same weights again.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.02
    warm_up: float = 0.06
    # What the cosine ends at, a share of the learning rate; 1 keeps the rate.
    final_rate: float = 0.01
    clip_norm: float = 5.0
    label_smoothing: float = 0.02
    # `sampling`: films of both classes of a finding are drawn as often; `weights`: positives
    # weigh as much as there are fewer of them.
    balance: str = "weights"
    # Names of `network.STAGES` that keep their weights and statistics.
    frozen: tuple[str, ...] = ()
    augmentation: str = "default"
    # Steps over which the weights are averaged; 0: none. Early on it is a tenth of the steps done.
    ema_steps: float = 300.0
    # Epochs without a better validation after which training ends; 0: never.
    patience: int = 0
    # Which network is returned where there is a validation.
    keep: str = "best"
    dense_weight: float = 1.0
    # For groups of counterfactual films.
    pair_weight: float = 0.5
    negative_pair_weight: float = 0.3
    # Pruning: the share of zeros that the network ends with.
    sparsity: float = 0.0
    prune_from: float = 0.3
    prune_until: float = 0.7
    mask_steps: int = 20
    # Until this share of the training only a strip of the film around the finding is shown: the
    # network is convolutional, and a strip costs its share of the film.
    focus_until: float = 0.0
    focus_width: float = 3 / 7
    # Batches over which statistics of batch normalisation are estimated anew for the averaged
    # weights, before each validation and for the network that is returned; 0: the running ones
    # serve, which fit weights that are not averaged.
    statistics_passes: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.epochs, self.steps, self.minutes).count(None) != 2:
            raise ValueError("a plan has exactly one of epochs, steps and minutes")
        if self.balance not in BALANCES or self.keep not in KEEPS:
            raise ValueError(f"balance is one of {BALANCES}, keep one of {KEEPS}")
        if self.augmentation not in VARIATIONS:
            raise ValueError(f"augmentation is one of {tuple(VARIATIONS)}")
