"""The documentation: links and pictures, names of files in commands, sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("README*.md"), ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
README_LINES = 250
PICTURES_BYTES = 2 * 2 ** 20

every_document = pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def links(document: Path) -> list[str]:
    """Targets of Markdown links and pictures and of <img>, without those to other sites."""
    text = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img[^>]*src="([^"]+)"', text)
    return [target for target in targets if not re.match(r"[a-z]+://|mailto:", target)]


def anchors(document: Path) -> set[str]:
    """Anchors that GitHub and Gitee make of the headings."""
    text = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_all_documents_are_there():
    in_docs = {"results.md", "data.md", "devices.md", "edge.md", "design.md"}
    needed = {"README.md", "README_CN.md", "CHANGELOG.md", *in_docs}
    assert {path.name for path in DOCS} >= needed


@every_document
def test_relative_links_resolve(document):
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.is_relative_to(ROOT) and file.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{document.name}: {target} names no heading of {file.name}"


@every_document
def test_files_that_are_named_exist(document):
    named = re.findall(r"(?<![\w/])((?:config|scripts|src/dgn|tests|ascend310_infer)/[\w./]*\w\.(?:yaml|sh|py|cc|txt))",
                       text_of(document))
    missing = sorted({name for name in named if "NAME" not in name and not (ROOT / name).exists()})
    assert not missing, f"{document.name}: {missing}"


@every_document
def test_keys_of_the_config_exist(document):
    """`section.key` in backquotes, and section.key=value in a command."""
    from dgn.config import Config

    if document.name == "CHANGELOG.md":  # names old keys too
        return
    sections = "|".join(Config.__dataclass_fields__)
    text = text_of(document)
    named = set(re.findall(rf"`({sections})\.(?!mindir|py)(\w+)(?=[`=:])", text))
    named |= set(re.findall(rf"(?:--set |\")({sections})\.(\w+)(?==)", text))
    config = Config()
    unknown = sorted(f"{section}.{key}" for section, key in named if not hasattr(getattr(config, section), key))
    assert not unknown, f"{document.name}: {unknown}"


@every_document
def test_commands_exist(document):
    from dgn.__main__ import COMMANDS

    named = set(re.findall(r"python -m dgn (\w+)", text_of(document)))
    assert named <= set(COMMANDS), f"{document.name}: {named - set(COMMANDS)}"


def test_readme_is_short():
    for name in ("README.md", "README_CN.md"):
        assert len(text_of(ROOT / name).splitlines()) <= README_LINES


def test_both_readmes_have_the_same_commands_and_recipes():
    """Code blocks in the same order with the same commands (comments may differ), and the same rows of recipes."""
    def commands(name: str) -> list[str]:
        blocks = re.findall(r"```(?:bash|python|bibtex)\n(.*?)```", text_of(ROOT / name), flags=re.DOTALL)
        return [re.sub(r"\s*#.*", "", line) for block in blocks for line in block.splitlines()]

    def recipes(name: str) -> list[str]:
        return re.findall(r"^\| (.*?config/\w+\.yaml).*? \|", text_of(ROOT / name), flags=re.MULTILINE)

    assert commands("README.md") == commands("README_CN.md")
    assert recipes("README.md") == recipes("README_CN.md")


def test_every_recipe_is_in_the_readme():
    readme = text_of(ROOT / "README.md")
    assert not [path.name for path in (ROOT / "config").glob("*.yaml") if f"config/{path.name}" not in readme]


def test_pictures_are_small_and_used():
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in pictures) <= PICTURES_BYTES
    used = {(document.parent / target).resolve() for document in DOCS for target in links(document)}
    assert not [path.name for path in pictures if path not in used]
