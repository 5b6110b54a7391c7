"""The provenance that is written beside results."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dgn import __version__, provenance


@pytest.mark.parametrize("argv, line", [
    (["/any/where/src/dgn/__main__.py", "evaluate", "runs/a b"], "python -m dgn evaluate 'runs/a b'"),
    (["/usr/bin/dgn", "figures", "runs/demo"], "dgn figures runs/demo"),
    ([""], "python"),
    (["dgn", "train", "--output", "caf\udce9"], "dgn train --output 'caf\\udce9'")])
def test_the_command_can_be_typed_again(monkeypatch, argv, line):
    monkeypatch.setattr(sys, "argv", argv)
    assert provenance.command() == line


def repository(path):
    """A repository with the layout of this one and one commit: its provenance.py, and a function that runs git."""
    def git(*words):
        line = ["git", "-C", str(path), "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout
    source = path / "src" / "dgn" / "provenance.py"
    source.parent.mkdir(parents=True)
    source.write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return source, git


def test_the_commit_is_that_of_the_source_and_changes_are_marked(tmp_path, monkeypatch):
    source, git = repository(tmp_path / "clone")
    monkeypatch.setattr(provenance, "__file__", str(source))
    head = git("rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))  # as in a git hook
    for content, commit in (("1\n", head), ("2\n", f"{head}-dirty")):
        source.write_text(content)
        provenance.commit.cache_clear()
        assert provenance.provenance(1.25)["commit"] == commit
    provenance.commit.cache_clear()


def test_an_installed_package_has_no_commit_even_inside_a_repository(tmp_path, monkeypatch):
    source, _ = repository(tmp_path / "project")
    installed = tmp_path / "project" / ".venv" / "lib" / "site-packages" / "dgn" / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(installed))
    provenance.commit.cache_clear()
    assert set(provenance.provenance()) == {"command", "dgn", "seconds"}
    assert provenance.provenance(2.0)["dgn"] == __version__ and provenance.provenance(2.0)["seconds"] == 2.0
    provenance.commit.cache_clear()
