"""vfscreen.toml: what is accepted, and what is said about what is not."""

import dataclasses

import pytest

from vfscreen import config, config_file
from vfscreen.errors import ConfigError


def load(tmp_path, text):
    path = tmp_path / "vfscreen.toml"
    path.write_text(text)
    return config_file.load(path)


def test_no_file_means_the_defaults():
    assert config_file.load(None) == config.Config()


def test_values_replace_defaults(tmp_path):
    loaded = load(
        tmp_path, "[list]\ncapacity = 12\nthreshold = 1\n[eligibility]\nmodalities=['CR']"
    )
    assert loaded.list.capacity == 12
    assert loaded.list.threshold == 1.0
    assert loaded.eligibility.modalities == ("CR",)
    assert loaded.eligibility.min_age_years == 50


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[list]\ncapcity = 12", "unknown key `list.capcity`. Did you mean `list.capacity`?"),
        ("[lists]\ncapacity = 12", "unknown key `lists`. Did you mean `list`?"),
        ("[list]\ncapacity = 'many'", "`list.capacity` is a whole number, not 'many'"),
        ("[list]\ncapacity = true", "`list.capacity` is a whole number, not True"),
        ("[list]\ncapacity = 0", "`list.capacity` is between 1 and 100000, not 0"),
        ("[list]\nthreshold = 1.5", "`list.threshold` is between 0.0 and 1.0, not 1.5"),
        ("[decode]\nmax_pixels = -1", "`decode.max_pixels` is at least 1, not -1"),
        ("[eligibility]\nmodalities = 'CR'", "`eligibility.modalities` is a list of strings"),
        ("list = 3", "`list` is a section: write it as [list]"),
        ("[list", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, says):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert says in str(error.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="There is no configuration file"):
        config_file.load(tmp_path / "none.toml")


def test_the_reference_names_every_key():
    page = config_file.reference()
    for section in dataclasses.fields(config.Config):
        assert f"## [{section.name}]" in page
        kind = section.default_factory
        for key in dataclasses.fields(kind):
            assert f"| `{key.name}` |" in page


def test_a_protocol_sets_what_the_file_does_not(tmp_path):
    chen = load(tmp_path, "[train]\nprotocol = 'chen2021'\nepochs = 7").train
    assert (chen.input_size_px, chen.normalisation, chen.frozen) == (224, "data_set", ("stem",))
    assert (chen.epochs, chen.seed) == (7, 1)
    assert load(tmp_path, "[train]\nepochs = 7").train.input_size_px == 512


def test_the_command_line_wins_over_file_and_protocol(tmp_path):
    path = tmp_path / "vfscreen.toml"
    path.write_text("[train]\nseed = 3\nepochs = 7")
    wins = config_file.load(path, {"protocol": "chen2021", "seed": 4}).train
    assert (wins.seed, wins.epochs, wins.balance) == (4, 7, "sampling")
    assert config_file.load(None, {"init": "none"}).train.init == "none"


@pytest.mark.parametrize("name", sorted(config.PROTOCOLS))
def test_every_protocol_is_a_valid_configuration(name):
    loaded = config_file.load(None, {"protocol": name}).train
    for key, value in config.PROTOCOLS[name].items():
        assert getattr(loaded, key) == (tuple(value) if isinstance(value, list) else value)


def test_an_unknown_protocol_is_said(tmp_path):
    with pytest.raises(ConfigError, match="one of default, chen2021, not 'chen'"):
        load(tmp_path, "[train]\nprotocol = 'chen'")
