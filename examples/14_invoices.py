"""Files that are there when the run begins, however many: a graph for each, one that is broken, and a total.

The inbox is made in the current directory; the run is on a SQLite file, ``cloaca.db``, beside it.
"""

import csv
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from cloaca import BlockingRunner, TaskFailure, Workflow, each, task

RATES = {"EUR": Decimal(1), "USD": Decimal("0.90"), "CZK": Decimal("0.04")}

FILES = {
    "acme.csv": "sku,amount,currency\ntea,9.50,EUR\npot,24.00,EUR\n",
    "bolt.csv": "sku,amount,currency\nscrew,0.10,USD\nnut,100.00,USD\n",
    "cups.csv": "sku,amount,currency\ncup,nothing,EUR\n",
    "dobro.csv": "sku,amount,currency\nguitar,12500,CZK\n",
    "empty.csv": "sku,amount,currency\n",
}


class Inbox(BaseModel):
    folder: Path


class File(BaseModel):
    path: Path


class Files(BaseModel):
    files: list[File]


class Line(BaseModel):
    amount: Decimal
    currency: str


class Lines(BaseModel):
    lines: list[Line]


class Invoice(BaseModel):
    name: str
    euros: Decimal


class Invoices(BaseModel):
    invoices: list[Invoice]


class Total(BaseModel):
    euros: Decimal
    count: int
    without_lines: list[str]


@task
def list_files(inbox: Inbox) -> Files:
    return Files(files=[File(path=path) for path in sorted(inbox.folder.glob("*.csv"))])


@task
def read(file: File) -> Lines:
    with file.path.open(newline="", encoding="utf-8") as opened:
        return Lines(lines=[Line.model_validate(row) for row in csv.DictReader(opened)])


@task
def convert(file: File, lines: Lines) -> Invoice:
    euros = sum((line.amount * RATES[line.currency] for line in lines.lines), Decimal(0))
    return Invoice(name=file.path.name, euros=euros.quantize(Decimal("0.01")))


@task
def set_aside(file: File, failure: TaskFailure) -> Lines:
    """Stand in for ``read``: a file that can't be read costs nothing, and is told of in the log."""
    print(f"{file.path.name} is set aside: {failure.exception_type}")
    return Lines(lines=[])


@task
def add_up(found: Invoices) -> Total:
    return Total(
        euros=sum((invoice.euros for invoice in found.invoices), Decimal(0)),
        count=len(found.invoices),
        without_lines=[invoice.name for invoice in found.invoices if not invoice.euros],
    )


one_file = read.rescue(set_aside) >> convert
invoices = Workflow("invoices", list_files >> each(one_file, over="files", into="invoices", limit=4) >> add_up)


def main() -> None:
    inbox = Path("inbox")
    inbox.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (inbox / name).write_text(text, encoding="utf-8")

    print(invoices.to_text())
    with BlockingRunner(workflows=[invoices]) as runner:
        handle = runner.start(invoices, Inbox(folder=inbox))
        total = handle.result().unwrap()
        for invoice in handle.context()["invoices"]:
            print(f"{invoice.name:10} {invoice.euros:>7}")
        print(f"{'total':10} {total.euros:>7} in {total.count} files; nothing in {', '.join(total.without_lines)}")
        for info in handle.elements("each:read"):
            print(info.index, info.status, [(inner.name.rpartition("/")[2], inner.status) for inner in info.tasks])


if __name__ == "__main__":
    main()
