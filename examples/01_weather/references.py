"""Rows in files, and the references to them that go through a workflow's context.

The pattern for payloads: what is large stays in a file, and a reference to it (path, rows, digest) goes through the
context: a few hundred bytes in the database, however long the file. What is small and worth a question in SQL, such as
four yearly means, goes through the context as a model. It knows nothing of weather.
"""

import csv
import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

Row = TypeVar("Row", bound=BaseModel)


class File(BaseModel):
    """A reference to a file. Whoever opens it can tell that it is still the one that was meant."""

    path: str
    sha256: str


class Table(File):
    """A reference to a file of rows, one JSON object a line. ``gaps`` counts the rows that should be there too."""

    rows: int
    gaps: int = 0


def write_file(path: Path, content: bytes) -> File:
    """Write a file in one step, under a temporary name first.

    A body that is killed is executed again. Then it writes the same file once more, and nobody has read half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
    return File(path=str(path), sha256=hashlib.sha256(content).hexdigest())


def read_file(file: File) -> bytes:
    """Return what a reference refers to. Raises ValueError if the file is another one by now."""
    content = Path(file.path).read_bytes()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ValueError(f"{file.path} is not the file that was written: its digest has changed")
    return content


def read_csv(file: File) -> list[dict[str, str]]:
    """Return the lines of a CSV file by column."""
    return list(csv.DictReader(io.StringIO(read_file(file).decode())))


def write_rows(path: Path, rows: Iterable[BaseModel], gaps: int = 0) -> Table:
    """Write rows to a file and return the reference."""
    lines = [row.model_dump_json() for row in rows]
    file = write_file(path, "".join(f"{line}\n" for line in lines).encode())
    return Table(path=file.path, sha256=file.sha256, rows=len(lines), gaps=gaps)


def read_rows(table: Table, model: type[Row]) -> list[Row]:
    """Return the rows of a file, each checked against its model."""
    return [model.model_validate_json(line) for line in read_file(table).splitlines()]
