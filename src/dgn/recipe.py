"""Recipes: YAML files and `section.key=value` overrides, read into a Config and written from one.

A recipe holds only differences from the defaults of dgn.config. Values are read according to the type of their field:
text without change, numbers in decimal notation. The error for an unknown key names the most similar key, the error for
an invalid value the valid values.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import os
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

import yaml

from dgn.config import Config, Schedule, changed
from dgn.errors import UserError
from dgn.files import expanded

log = logging.getLogger(__name__)

# keys of version 0.1 -> their present names; still read, with a warning
RENAMED = {
    "data.part": "data.split", "data.files": "data.pattern", "model.narrowest": "model.min_channels",
    "inference.compiled": "inference.steps_per_graph", "inference.begin": "inference.chain_init",
    "inference.per_frame": "inference.scale_by_frames", "training.start": "training.init_from",
    "training.frozen": "training.freeze", "training.renew_appearance": "training.reinit_appearance",
    "training.r1_every": "training.r1_interval", "training.parts": "training.micro_batches",
}
REMOVED = ("training.start_with",)  # version 0.1 wrote it into every run folder; its only used value was "all"
_NULL = ("null", "Null", "NULL", "~")
_DEEPEST = 3  # largest nesting of lists; a schedule has two
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

Value = str | list["Value"] | dict[str, "Value"] | None  # YAML with every scalar as text


class _Loader(yaml.SafeLoader):
    """Refuses aliases: a few lines of them can stand for more values than fit into memory."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed; repeat the value,",
                                              self.peek_event().start_mark)
        return super().compose_node(parent, index)


class Origin(NamedTuple):
    """A value and its origin for messages, such as "faces.yaml, line 3" or "--set data.size=x"."""

    value: Any
    where: str


def load(path: str | Path | None = None, settings: Sequence[str] = ()) -> Config:
    """The config of a YAML file with `section.key=value` settings on top.

    Raises UserError for a missing or malformed file, an unknown or duplicate key, or a value out of range.
    """
    return _build({**(_read_file(Path(path)) if path is not None else {}), **_settings(settings)})


def with_overrides(config: Config, overrides: Mapping[str, Any], settings: Sequence[str] = ()) -> Config:
    """A config with other values by `section.key`, given as Python values or as text: {"training.epochs": 20}.

    settings: further `section.key=value`.

    Raises UserError for an unknown key, a value out of range, or overrides that are no dictionary.
    """
    if not isinstance(overrides, Mapping):
        raise UserError(f"overrides are {type(overrides).__name__}; they must be a dictionary, such as "
                        '{"training.epochs": 20}')
    values = {f"{section}.{key}": Origin(value, "config") for section, content in to_dict(config).items()
              for key, value in content.items()}
    values.update({key: Origin(_plain(value), f"override {key}") for key, value in overrides.items()})
    return _build({**values, **_settings(settings)})


def absolute_paths(config: Config) -> Config:
    """The config with absolute paths, so that the run folder can be used from any working directory."""
    def absolute(path: str | None) -> str | None:
        return path and str(expanded(path).resolve())
    return changed(config, data={"path": absolute(config.data.path)},
                   training={"init_from": absolute(config.training.init_from)})


def relocated(config: Config, data: str | Path | None) -> Config:
    """The config of a run whose images were moved to the path `data`; unchanged if it is None.

    Raises UserError if the path is empty, or if the run is on generated images.
    """
    if data is None:
        return config
    if not str(data):
        raise UserError("data (--data) is empty; give the new location of the run's images")
    if config.data.path is None:
        raise UserError("data (--data) is for runs on files; this run is on generated images")
    return absolute_paths(changed(config, data={"path": str(data)}))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries of plain values, for config.yaml."""
    return {name: {key: _plain(value) for key, value in section.items()}
            for name, section in dataclasses.asdict(config).items()}


def dump(config: Config) -> str:
    """YAML text with every value, which `load` can read."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None, allow_unicode=True)


def _plain(value: Any) -> Any:
    """A value of Python as YAML has it: NumPy's numbers and arrays, and paths, are converted."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _settings(settings: Sequence[str]) -> dict[str, Origin]:
    """`section.key` -> value of `section.key=value` words."""
    values: dict[str, Origin] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (equals and "." in key):
            raise UserError(f"--set {setting}: write it as section.key=value, such as --set training.epochs=20")
        values[key.strip()] = Origin(text, f"--set {setting}")
    return values


def _build(values: Mapping[str, Origin]) -> Config:
    """A checked Config from values by `section.key`."""
    classes: dict[str, Any] = {section.name: type(section.default) for section in dataclasses.fields(Config)}
    sections: dict[str, dict[str, Any]] = {}
    for old_key, origin in values.items():
        if old_key in REMOVED:
            continue
        key = RENAMED.get(old_key, old_key)
        if key != old_key:
            log.warning("%s: %s is now called %s", origin.where, old_key, key)
        section, _, name = key.partition(".")
        if section not in classes:
            hint = "" if name else _same_name(section, classes)
            raise UserError(f"{origin.where}: unknown section {section!r}{hint or _nearest(section, classes)}")
        hints = typing.get_type_hints(classes[section])
        if not name:
            raise UserError(f"{origin.where}: {section} is a section; name one of its keys, such as "
                            f"{section}.{next(iter(hints))}")
        if name not in hints:
            raise UserError(f"{origin.where}: unknown key {key}{_same_name(name, classes) or _nearest(name, hints)}")
        sections.setdefault(section, {})[name] = _convert(origin, hints[name], key)
    return Config(**{section: classes[section](**content) for section, content in sections.items()})


def _same_name(name: str, classes: Mapping[str, Any]) -> str:
    """The keys of that name in all sections, as an end of a message; empty if there is none."""
    keys = [f"{section}.{name}" for section, cls in classes.items() if name in typing.get_type_hints(cls)]
    return f"; did you mean {' or '.join(keys)}?" if keys else ""


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else f"; known names: {', '.join(known)}"


def _read_file(path: Path) -> dict[str, Origin]:
    """`section.key` -> value and line of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        root = yaml.compose(text, Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"no config file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read config {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        text = str(error).replace('in "<unicode string>", ', "")
        raise UserError(f"{path} is not valid YAML: {' '.join(text.split())}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply") from None
    values: dict[str, Origin] = {}
    for section, content in _mapping(root, path, "a config").items():
        for key, node in _mapping(content, path, section).items():
            values[f"{section}.{key}"] = Origin(_value(node, _line(path, node)), _line(path, node))
    return values


def _mapping(node: yaml.Node | None, path: Path, what: str) -> dict[str, yaml.Node]:
    """The entries of a YAML mapping, {} for an empty one. Raises UserError for a duplicate key, or another kind of
    node."""
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", *_NULL)):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{_line(path, node)}: {what} must hold keys and values")
    entries: dict[str, yaml.Node] = {}
    for key, content in node.value:
        name = str(key.value)
        if name in entries:
            raise UserError(f"{_line(path, key)}: duplicate key {name!r} in {what}; keep one of them")
        entries[name] = content
    return entries


def _value(node: yaml.Node, where: str, depth: int = 0) -> Value:
    """A node as text or nested lists. Raises UserError for a mapping, or deeper lists."""
    if isinstance(node, yaml.ScalarNode):
        return None if not node.style and node.value in ("", *_NULL) else str(node.value)
    if isinstance(node, yaml.SequenceNode) and depth < _DEEPEST:
        return [_value(item, where, depth + 1) for item in node.value]
    raise UserError(f"{where}: a value must be text, a number or a list of them, not keys and values")


def _line(path: Path, node: yaml.Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def _convert(origin: Origin, hint: Any, key: str) -> Any:
    """Converts a value to the type that the field declares. --set and overrides may give lists as YAML text.

    The converters below raise ValueError with what the value must be.
    """
    value, optional = origin.value, isinstance(hint, UnionType)
    if optional:
        hint = typing.get_args(hint)[0]
        if value is None or value in _NULL:
            return None
    if isinstance(value, str) and (hint == Schedule or typing.get_origin(hint) is tuple):
        value = _parse(value, origin)
    try:
        if hint == Schedule:
            return _schedule(value, "percent" if key.startswith("evaluation.") else "epoch")
        if typing.get_origin(hint) is tuple:
            items = typing.get_args(hint)
            return tuple(map(_whole, _list(value, None if Ellipsis in items else len(items))))
        return {str: _text, bool: _truth, int: _whole, float: _decimal}[hint](value)
    except ValueError as expected:
        raise UserError(f"{origin.where}: {key} is {origin.value!r}; it must be {expected}"
                        + optional * ", or null for none") from None


def _parse(text: str, origin: Origin) -> Value:
    try:
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        raise UserError(f"{origin.where}: {text!r} is not a YAML value") from None
    return None if node is None else _value(node, origin.where)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("text")
    return value


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an integer of at most 18 digits")
    return value


def _decimal(value: Any) -> float:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number")
    return float(value)


def _list(value: Any, size: int | None) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)) or size not in (None, len(value)):
        raise ValueError(f"a list of {size} integers" if size else "a list of integers")
    return value


def _schedule(value: Any, unit: str) -> Schedule:
    try:
        pairs = [_list(step, 2) for step in value] if isinstance(value, (list, tuple)) else [(0, value)]
        steps = tuple((_whole(first), _decimal(number)) for first, number in pairs)
    except ValueError:
        steps = ()
    starts = [first for first, _ in steps]
    if not steps or starts[0] != 0 or starts != sorted(set(starts)):
        raise ValueError(f"a number, or [[0, value], [{unit}, value], ...] with increasing {unit}s")
    return steps
