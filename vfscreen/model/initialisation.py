"""What a network knows before it is trained: nothing, ImageNet, or what another network learnt."""

import hashlib
import io
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from vfscreen.errors import CheckpointError
from vfscreen.model import container
from vfscreen.model.checkpoint import DEMO, TrainingPatients, read_info, read_tensors
from vfscreen.model.network import FilmClassifier

# torchvision ends the name of each published file with the first digits of its SHA-256.
_PREFIX = re.compile(r"-([0-9a-f]{8,64})\.pth$")
# Older files of DenseNet have names like `denselayer1.norm.1.weight`, which modules cannot have.
_OLD_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


@dataclass(frozen=True, slots=True)
class Initialised:
    """Where the first weights came from, for a checkpoint's provenance.

    Attributes
    ----------
    source : str
        `none`, or the file's name and what it is.
    sha256 : str or None
        Of the file; None without one.
    training_patients : TrainingPatients or None
        Whose films the other network was trained on: the new one has learnt from them as well.
    """

    source: str
    sha256: str | None
    training_patients: TrainingPatients | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A file of weights that torchvision publishes; `sha256_prefix` is what its name ends with."""

    url: str
    sha256_prefix: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def published(architecture: str) -> tuple[Published, ...]:
    """The ImageNet weights that torchvision publishes for an architecture, the first version first.

    The first version is what Chen et al. (2021) could have used, and all architectures have it.
    """
    from torchvision.models import get_model_weights

    found = sorted(get_model_weights(architecture), key=lambda weights: weights.name)
    return tuple(
        Published(weights.url, _PREFIX.search(weights.url).group(1))  # type: ignore[union-attr]
        for weights in found
    )


def initialise(
    model: FilmClassifier,
    init: str,
    *,
    say: Callable[[str], None] = lambda text: None,
    known: Sequence[Published] | None = None,
) -> Initialised:
    """Give a network its first weights, in place.

    A checkpoint of vfscreen is never unpickled. The one file here that is a pickle is ImageNet
    weights as torchvision publishes them, because that is what there is to carry to a machine
    without internet. It is read only if its SHA-256 begins as torchvision's name for the file
    says, whatever the file is called here, and then by torch's restricted reader
    (`weights_only=True`), which makes tensors and calls nothing. The prefix has 32 bits: it tells
    a damaged or mistaken file; against a forged one it is the reader that counts.

    Parameters
    ----------
    model : FilmClassifier
        With random weights. Its last layer stays random where the other network's findings are
        others.
    init : str
        `none`; `imagenet` (downloaded once to torch's cache); a file: `.pth` as torchvision
        publishes it, `.safetensors` with torchvision's names, or a checkpoint of vfscreen of the
        same architecture, of several networks the first; `demo`.
    say : callable
        Told what is not obvious from `init`, a sentence each.
    known : sequence of Published, optional
        The published files, the one for `imagenet` first; torchvision's unless given.

    Raises
    ------
    CheckpointError
        The weights cannot be had, cannot be trusted, or do not fit; the text says what to do.
    """
    if init == "none":
        return Initialised("none", None)
    known = published(model.architecture) if known is None else known
    if init == "imagenet":
        path = _downloaded(model.architecture, known[0], say)
        return _from_published(model, path, known[:1])
    if init == DEMO:
        return _from_checkpoint(model, init, say)
    path = Path(init)
    if not path.is_file():
        raise CheckpointError(
            f"There is no file {init} to begin with; training begins with `imagenet`, `none`, "
            "`demo`, or a file of weights or a checkpoint."
        )
    if path.suffix in (".pth", ".pt"):
        return _from_published(model, path, known)
    content = container.read(path)
    if "format_version" in content.metadata:
        return _from_checkpoint(model, init, say)
    tensors = {
        name: torch.from_numpy(array.astype("<f4")) for name, array in content.tensors.items()
    }
    if not _load(model, path.name, tensors):
        say(f"The last layer begins at random: {path.name} has none for these findings.")
    return Initialised(f"file {path.name}", hashlib.sha256(content.data).hexdigest())


def _downloaded(architecture: str, weights: Published, say: Callable[[str], None]) -> Path:
    """The file in torch's cache, downloaded if it is not there; its hash is checked when read."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / weights.name
    if path.exists():
        return path
    say(f"Downloading {weights.url} to {folder}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            weights.url, str(path), weights.sha256_prefix, progress=False
        )
    # A wrong hash is a RuntimeError; URLError, timeouts and a full disk are OSErrors.
    except (OSError, HTTPException, RuntimeError) as error:
        raise CheckpointError(
            f"The ImageNet weights of {architecture} cannot be downloaded "
            f"({_reason(error)}). On a machine with internet fetch {weights.url}, bring the file "
            f"here as it is, and give it with --init {weights.name}; or train with --init none."
        ) from None
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError):
        return "what came is not the published file"
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause) or type(error).__name__


def _from_published(model: FilmClassifier, path: Path, known: Sequence[Published]) -> Initialised:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights {path} cannot be read: {error.strerror or 'input error'}."
        ) from None
    sha256 = hashlib.sha256(data).hexdigest()
    file = next((f for f in known if sha256.startswith(f.sha256_prefix)), None)
    if file is None:
        raise CheckpointError(
            f"{path} is none of the files that torchvision publishes for {model.architecture} "
            f"({', '.join(f.name for f in known)}), or it is damaged: its SHA-256 begins with "
            f"{sha256[:8]}. Other weights are read from .safetensors files only."
        )
    try:
        raw = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"The weights {path} cannot be read as tensors ({type(error).__name__})."
        ) from None
    if not isinstance(raw, dict) or not all(isinstance(t, Tensor) for t in raw.values()):
        raise CheckpointError(f"The weights {path} are no tensors by name.")
    # Its last layer knows dogs and boats, even where there are as many findings.
    of_output = _output_names(model)
    named = {_OLD_NAME.sub(r"\1\2", name): tensor for name, tensor in raw.items()}
    _load(model, path.name, {n: t.float() for n, t in named.items() if n not in of_output})
    return Initialised(f"ImageNet, torchvision's {file.name}", sha256)


def _from_checkpoint(model: FilmClassifier, init: str, say: Callable[[str], None]) -> Initialised:
    info = read_info(init)
    if info.architecture != model.architecture:
        raise CheckpointError(
            f"The checkpoint {info.path} is a {info.architecture}: a {model.architecture} cannot "
            "begin with its weights. Choose the same architecture, or another --init."
        )
    if info.members > 1:
        say(f"{info.path.name} holds {info.members} networks: the first of them is the beginning.")
    if info.locator is not None:
        say(f"Of {info.path.name} the classifier is taken, not the network that finds the spine.")
    tensors = dict(read_tensors(info).members[0])
    if info.findings != model.findings:
        say(f"The last layer begins at random: {info.path.name} has other findings.")
        for name in _output_names(model):
            tensors.pop(name, None)
    _load(model, info.path.name, tensors)
    return Initialised(f"checkpoint {info.name!r}", info.checkpoint_sha256, info.training_patients)


def _output_names(model: FilmClassifier) -> list[str]:
    """What a state dict calls the weights of the last layer."""
    own = {id(tensor) for tensor in model.output.parameters()}
    return [name for name, tensor in model.backbone.named_parameters() if id(tensor) in own]


def _load(model: FilmClassifier, name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Load all tensors but a last layer of another size; whether the last layer was loaded."""
    own, of_output = model.backbone.state_dict(), _output_names(model)
    fits = all(n in tensors and tensors[n].shape == own[n].shape for n in of_output)

    def counted(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            n: t
            for n, t in named.items()
            if (fits or n not in of_output) and not n.endswith("num_batches_tracked")
        }

    given, wanted = counted(tensors), counted(own)
    both = given.keys() & wanted.keys()
    problems = {
        "lacks": wanted.keys() - both,
        "has, beyond the tensors of one,": given.keys() - both,
        "has another shape of": {n for n in both if given[n].shape != wanted[n].shape},
        "is not finite in": {n for n in both if not bool(torch.isfinite(given[n]).all())},
    }
    for problem, names in problems.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"{name} does not fit a {model.architecture}: it {problem} {min(names)}{more}."
            )
    model.backbone.load_state_dict(given, strict=False)
    return fits
