"""vfscreen.toml: what is accepted, and what is said about what is not."""

import dataclasses

import pytest

from vfscreen import config
from vfscreen.errors import ConfigError


def load(tmp_path, text):
    path = tmp_path / "vfscreen.toml"
    path.write_text(text)
    return config.load(path)


def test_no_file_means_the_defaults():
    assert config.load(None) == config.Config()


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
        config.load(tmp_path / "none.toml")


def test_the_reference_names_every_key():
    page = config.reference()
    for section in dataclasses.fields(config.Config):
        assert f"## [{section.name}]" in page
        kind = section.default_factory
        for key in dataclasses.fields(kind):
            assert f"| `{key.name}` |" in page
