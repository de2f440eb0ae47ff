"""A run fails, its cause is put right, and it goes on; another is made from it, that reuses what was paid for.

It runs on a SQLite file, ``cloaca.db``, in the current directory.
"""

from pydantic import BaseModel

from cloaca import BlockingRunner, Workflow, task

stock: dict[str, int] = {}


class Item(BaseModel):
    sku: str


class Payment(BaseModel):
    payment_id: str


class Parcel(BaseModel):
    sku: str
    payment_id: str


class Shipment(BaseModel):
    tracking: str


@task
def charge(item: Item) -> Payment:
    print(f"charging for {item.sku}")
    return Payment(payment_id=f"pay-{item.sku}")


@task
def ship(parcel: Parcel) -> Shipment:
    left = stock[parcel.sku]
    return Shipment(tracking=f"{parcel.payment_id}, {left} left")


orders = Workflow("orders", charge >> ship)


def main() -> None:
    with BlockingRunner(workflows=[orders]) as runner:
        handle = runner.start(orders, Item(sku="tea"))
        print(handle.result().failure())

        stock["tea"] = 3
        handle.retry()  # the same run, from what failed on: nobody is charged again
        print(handle.result().unwrap().tracking)

        stock["tea"] = 2
        other = handle.fork(before=ship)  # a new run, which has what was committed before `ship`
        print(other.result().unwrap().tracking)

        print([(info.name, info.status, info.attempt) for info in handle.tasks()])
        print([failure.exception_type for failure in handle.failures()])
        print("runs:", [info.status for info in runner.runs()])


if __name__ == "__main__":
    main()
