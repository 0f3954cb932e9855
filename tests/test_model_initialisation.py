"""Where first weights may come from, and every file that is refused, each with its sentence."""

import hashlib
import pickle

import pytest
import torch
import torchvision

from vfscreen.errors import CheckpointError
from vfscreen.model import container
from vfscreen.model.checkpoint import TrainingPatients, save
from vfscreen.model.initialisation import Initialised, Published, initialise, published
from vfscreen.model.network import ARCHITECTURES, build
from vfscreen.preprocessing import Preprocessing
from vfscreen.results.calibrations import Calibration

FINDING = "vertebral_fracture"
# The smallest of the six; its published file has names that modules cannot have.
ARCHITECTURE = "densenet169"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def template():
    torch.manual_seed(1)
    return build(ARCHITECTURE, (FINDING,))


@pytest.fixture
def model(template):
    """A fresh copy of the same random weights."""
    fresh = build(ARCHITECTURE, (FINDING,))
    fresh.load_state_dict(template.state_dict())
    return fresh


@pytest.fixture(scope="module")
def other():
    """What torchvision would publish: 1000 classes, three channels."""
    torch.manual_seed(2)
    return torchvision.models.densenet169(weights=None).state_dict()


@pytest.fixture(scope="module")
def pth(other, tmp_path_factory):
    """As published: a pickle whose dense layers have names of two parts."""
    old = {}
    for name, tensor in other.items():
        for kind in ("norm", "conv"):
            for number in "12":
                name = name.replace(f".{kind}{number}.", f".{kind}.{number}.")
        old[name] = tensor
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    folder = tmp_path_factory.mktemp("published")
    torch.save(old, folder / "w")
    digest = hashlib.sha256((folder / "w").read_bytes()).hexdigest()
    return (folder / "w").rename(folder / f"densenet169-{digest[:8]}.pth"), digest


def is_taken(model, weights, template):
    """All weights but the last layer are those given; the last layer is the random one."""
    for name, tensor in model.backbone.state_dict().items():
        if name.startswith("classifier"):
            assert torch.equal(tensor, template.backbone.state_dict()[name]), name
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, weights[name]), name
    return True


def stored(path, members, findings=(FINDING,), **more):
    return save(
        path,
        members,
        name="another",
        demonstration=True,
        findings=findings,
        preprocessing=Preprocessing(input_size_px=64),
        calibration={f: Calibration() for f in findings},
        operating_points={f: {"default": 0.5} for f in findings},
        provenance={},
        model_card="",
        **more,
    )


def refused(model, init, **more):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        initialise(model, str(init), **more)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    return str(error.value)


def test_none_leaves_the_network_as_it_is(model, template):
    assert initialise(model, "none") == Initialised("none", None)
    assert torch.equal(model.output.weight, template.output.weight)


def test_every_architecture_has_published_weights_with_a_hash():
    for architecture in ARCHITECTURES:
        files = published(architecture)
        assert files
        for file in files:
            assert file.url.startswith("https://download.pytorch.org/models/")
            assert file.name.endswith(f"-{file.sha256_prefix}.pth")
    first = published("resnext50_32x4d")[0]
    assert (first.name, first.sha256_prefix) == ("resnext50_32x4d-7cdf4587.pth", "7cdf4587")


def test_a_published_file_is_taken_by_its_hash_whatever_it_is_called(
    model, template, other, pth, tmp_path
):
    path, digest = pth
    renamed = tmp_path / "imagenet.pth"
    renamed.symlink_to(path)
    file = Published(f"https://example.org/{path.name}", digest[:8])
    found = initialise(model, str(renamed), known=[Published("x", "ffffffff"), file])
    assert found == Initialised(f"ImageNet, torchvision's {path.name}", digest)
    assert is_taken(model, other, template)


def test_imagenet_is_downloaded_once_and_its_hash_checked(
    model, template, other, pth, tmp_path, monkeypatch
):
    path, digest = pth
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said = []
    known = [Published(path.as_uri(), digest[:8])]
    for _ in range(2):
        found = initialise(model, "imagenet", say=said.append, known=known)
        assert found == Initialised(f"ImageNet, torchvision's {path.name}", digest)
    assert is_taken(model, other, template)
    assert said == [f"Downloading {path.as_uri()} to {tmp_path / 'hub' / 'checkpoints'}."]
    # What lies in the cache is not trusted either.
    cached = tmp_path / "hub" / "checkpoints" / path.name
    cached.write_bytes(b"other")
    assert "or it is damaged" in refused(model, "imagenet", known=known)


def test_without_internet_the_file_to_fetch_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    nowhere = Published((tmp_path / "densenet169-b2777c0a.pth").as_uri(), "b2777c0a")
    text = refused(model, "imagenet", known=[nowhere])
    assert "cannot be downloaded" in text
    assert "give it with --init densenet169-b2777c0a.pth" in text


def test_a_download_of_another_hash_is_not_kept(model, pth, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    wrong = Published(pth[0].as_uri(), "00000000")
    assert "not the published file" in refused(model, "imagenet", known=[wrong])
    assert not list((tmp_path / "hub" / "checkpoints").iterdir())


def test_a_pickle_that_nobody_published_is_refused_unread(model, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    (tmp_path / "w-b2777c0a.pth").write_bytes(pickle.dumps({"classifier.weight": Bomb()}))
    text = refused(model, tmp_path / "w-b2777c0a.pth")
    assert "none of the files that torchvision publishes for densenet169" in text
    assert "densenet169-b2777c0a.pth" in text


def test_a_pickle_with_the_right_hash_still_runs_no_code(model, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    path = tmp_path / "w.pth"
    torch.save({"classifier.weight": Bomb()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = refused(model, path, known=[Published("w.pth", digest)])
    assert "cannot be read as tensors" in text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", [1], {"x": "y"}])
def test_a_right_hash_is_not_enough(model, tmp_path, content):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = refused(model, path, known=[Published("w.pth", digest)])
    assert "cannot be read as tensors" in text or "no tensors by name" in text


@pytest.mark.parametrize("init", ["none.pth", "none.safetensors", "imagnet"])
def test_a_file_that_is_not_there_is_named(model, init):
    text = refused(model, init)
    assert f"no file {init} to begin with" in text and "`imagenet`, `none`" in text


def safetensors(path, tensors):
    container.write(path, {n: t.numpy() for n, t in tensors.items()}, {"format": "pt"})
    return path


def test_safetensors_with_torchvisions_names(model, template, other, tmp_path):
    path = safetensors(tmp_path / "w.safetensors", other)
    said = []
    found = initialise(model, str(path), say=said.append)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == Initialised("file w.safetensors", digest)
    assert is_taken(model, other, template)
    assert said == ["The last layer begins at random: w.safetensors has none for these findings."]


def test_a_file_may_lack_the_last_layer(model, template, other, tmp_path):
    body = {name: t for name, t in other.items() if not name.startswith("classifier")}
    said = []
    initialise(model, str(safetensors(tmp_path / "w.safetensors", body)), say=said.append)
    assert is_taken(model, other, template)
    assert len(said) == 1


def test_a_last_layer_of_the_same_size_is_taken(model, other, tmp_path):
    same = other | {
        "classifier.weight": torch.ones(1, 1664), "classifier.bias": torch.ones(1)
    }  # fmt: skip
    said = []
    initialise(model, str(safetensors(tmp_path / "w", same)), say=said.append)
    assert bool((model.output.weight == 1).all()) and not said


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda t: t.pop("features.conv0.weight"), "it lacks features.conv0.weight."),
        (lambda t: t.update(extra=torch.ones(1)), "has, beyond the tensors of one, extra."),
        (
            lambda t: t.update({"features.conv0.weight": torch.ones(64, 1, 7, 7)}),
            "has another shape of features.conv0.weight.",
        ),
        (
            lambda t: t.update({"features.norm5.bias": torch.full((1664,), torch.nan)}),
            "is not finite in features.norm5.bias.",
        ),
        (
            lambda t: [t.pop(n) for n in list(t) if "denseblock4" in n],
            "it lacks features.denseblock4.denselayer1.conv1.weight and 319 more.",
        ),
    ],
)
def test_safetensors_that_do_not_fit_are_refused(model, other, tmp_path, edit, sentence):
    tensors = dict(other)
    edit(tensors)
    text = refused(model, safetensors(tmp_path / "w.safetensors", tensors))
    assert text.startswith("w.safetensors does not fit a densenet169") and sentence in text


def test_a_checkpoint_of_the_same_findings_gives_its_last_layer_and_patients(model, tmp_path):
    torch.manual_seed(5)
    first, second = build(ARCHITECTURE, (FINDING,)), build(ARCHITECTURE, (FINDING,))
    patients = TrainingPatients("key", ("0123456789abcdef",))
    info = stored(tmp_path / "c", [first, second], training_patients=patients)
    said = []
    found = initialise(model, str(info.path), say=said.append)
    assert found == Initialised("checkpoint 'another'", info.checkpoint_sha256, patients)
    for name, tensor in first.backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            expected = tensor.half().float() if tensor.dim() == 4 else tensor
            assert torch.equal(model.backbone.state_dict()[name], expected)
    assert said == ["c holds 2 networks: the first of them is the beginning."]


def test_a_checkpoint_of_other_findings_does_not_give_its_last_layer(model, template, tmp_path):
    info = stored(tmp_path / "c", [build(ARCHITECTURE, ("rib_fracture",))], ("rib_fracture",))
    said = []
    initialise(model, str(info.path), say=said.append)
    assert torch.equal(model.output.weight, template.output.weight)
    assert said == ["The last layer begins at random: c has other findings."]


def test_a_checkpoint_of_another_architecture_is_refused(model):
    assert "is a resnext50_32x4d: a densenet169 cannot begin" in refused(model, "demo")


def test_the_demonstration_checkpoint_is_a_beginning():
    model = build("resnext50_32x4d", (FINDING,))
    found = initialise(model, "demo")
    assert found.source.startswith("checkpoint 'phantom-demonstration")
    assert found.sha256 and found.training_patients is None
