"""The record of `dgn data crop`, by which an interrupted crop is continued: crops.csv, and its options in crop.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dgn.errors import UserError
from dgn.files import disk_errors, locked_folder, new_folder, write_json, write_text
from dgn.reading import read_json

TABLE, OPTIONS = "crops.csv", "crop.json"


class Crops(NamedTuple):
    """The open crops.csv."""

    rows: list[dict[str, str]]  # of the interrupted crop that is continued
    add: Callable[[Iterable[Sequence[Any]]], None]  # writes rows to the file at once


@contextmanager
def open_crops(target: Path, columns: Sequence[str], options: Mapping[str, Any] | None = None,
               resume: bool = False) -> Iterator[Crops]:
    """Opens crops.csv in the output folder `target`.

    options: what the crops depend on, as JSON; they are recorded. resume: continues a crop of the same options, if
    there is one in `target`. Raises UserError if `target` holds other files, or a crop of other options, or if another
    process crops there; RunFailed if it cannot be written.
    """
    recorded = json.loads(json.dumps(dict(options or {})))  # tuples become lists
    if not (target / OPTIONS).exists():
        new_folder(target)
    elif not resume:
        raise UserError(f"{target} is not empty, it holds an earlier crop: --resume continues it, another output "
                        "folder starts a new one")
    with locked_folder(target):
        if not (target / OPTIONS).exists():
            write_json(target / OPTIONS, recorded)
        rows = _read_rows(target, columns, recorded)
        whole = io.StringIO()
        table = csv.DictWriter(whole, columns)
        table.writeheader()
        table.writerows(rows)
        write_text(target / TABLE, whole.getvalue())
        with disk_errors(target / TABLE), open(target / TABLE, "a", newline="", encoding="utf-8") as file:
            def add(rows: Iterable[Sequence[Any]]) -> None:
                csv.writer(file).writerows(rows)
                file.flush()

            yield Crops(rows, add)


def _read_rows(target: Path, columns: Sequence[str], options: dict[str, Any]) -> list[dict[str, str]]:
    """The complete rows of an interrupted crop. Raises UserError if its options were others."""
    try:
        recorded, text = read_json(target / OPTIONS, dict), ""
        if (target / TABLE).exists():  # else it was interrupted before
            with open(target / TABLE, newline="", encoding="utf-8") as file:
                text = file.read()
    except (OSError, ValueError) as error:
        raise UserError(f"{target}: its crop cannot be continued ({error}); choose another folder") from None
    for key in {**recorded, **options}:
        if recorded.get(key) != options.get(key):
            raise UserError(f"{target} holds a crop with {key} {recorded.get(key)}, not {options.get(key)}; give the "
                            "same source and options, or another folder")
    reader = csv.DictReader(io.StringIO(text[:text.rfind("\n") + 1], newline=""))  # the last line may be cut short
    rows = [row for row in reader if None not in row and None not in row.values()]
    if rows and list(rows[0]) != list(columns):
        raise UserError(f"{target / TABLE} has other columns than {', '.join(columns)}; choose another folder")
    return rows
