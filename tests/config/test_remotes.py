"""Several remotes in one configuration: each reads as a file that has it alone."""

import pytest

from zdiffsync.config.config import load, load_all
from zdiffsync.errors import ConfigError

TOP = 'password_file = "/p"\nstate_dir = "/s"\npack_size = "1M"\nkeep = {last = 3}\n'
TWO = (
    TOP + '[[remote]]\nname = "home"\nurl = "/a"\n'
    '[[remote]]\nname = "cloud"\nurl = "o:b"\ndatasets = ["t/x"]\npack_size = "2M"\n'
    'keep = {monthly = 2}\nbwlimit = "1M"\npassword_file = "/q"\n'
    '[[dataset]]\nname = "t/x"\nkeep = {last = 1}\n[[dataset]]\nname = "t/y"\n'
)


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_each_remote_reads_as_if_it_were_alone(config):
    alone = {
        "home": 'remote = "/a"\n' + TOP.replace('"/s"', '"/s/home"') + TWO[TWO.index("[[dataset]]") :],
        "cloud": 'remote = "o:b"\npassword_file = "/q"\nstate_dir = "/s/cloud"\npack_size = "2M"\n'
        'keep = {monthly = 2}\nbwlimit = "1M"\n[[dataset]]\nname = "t/x"\nkeep = {last = 1}\n',
    }
    path = config(TWO)
    found = load_all(path)
    assert list(found) == ["home", "cloud"]
    assert [load(path), load(path, "cloud")] == list(found.values())
    for name, text in alone.items():
        assert found[name] == load(config(text)), name


def test_folders_that_are_given_have_one_for_each_remote(config):
    found = load_all(config('staging_dir = "~/t"\n' + TWO.replace('state_dir = "/s"\n', "")))
    assert found["home"].staging_dir == "~/t/home"
    assert found["home"].state.parent == found["cloud"].state.parent
    assert (found["home"].state.name, found["cloud"].state.name) == ("home", "cloud")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('url = "/a"', "", "key 'url' is missing in a [[remote]] table"),
        ('url = "/a"', 'ulr = "/a"', "unknown key 'ulr' in a [[remote]] table; did you mean 'url'?"),
        ('url = "/a"', 'url = "/a"\nhost = "h"', "unknown key 'host' in a [[remote]] table"),
        ('"home"', '"cloud"', "two [[remote]] tables have the name 'cloud'"),
        ('"/a"', '"o:b"', "two [[remote]] tables have the url 'o:b'"),
        ('"home"', '"../home"', "'../home' is no short word"),
        ('"2M"', '"2 apples"', "remote 'cloud': pack_size: '2 apples' is no size"),
        ("monthly", "monthy", "unknown key 'monthy' in a keep table; did you mean 'monthly'?"),
        ('["t/x"]', '["t/z"]', "remote 'cloud': there is no [[dataset]] table named 't/z'"),
        ('url = "/a"', 'url = "/a"\ndatasets = ["t/x"]', "dataset 't/y' goes to no remote"),
        ('name = "t/y"', "name = 5", "Expected `str`"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(config, old, new, words):
    assert old in TWO
    with pytest.raises(ConfigError) as caught:
        load(config(TWO.replace(old, new)))
    assert words.replace("`", "'") in str(caught.value)


def test_a_name_that_no_remote_has(config):
    with pytest.raises(ConfigError, match=r"no \[\[remote\]\] table named 'clod'; there is home, cloud"):
        load(config(TWO), "clod")
    with pytest.raises(ConfigError, match="leave out --repo"):
        load(config('remote = "/a"\n' + TOP), "home")
