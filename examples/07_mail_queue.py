"""Letters go through a queue: two at a time, however many are asked for, and five an hour in all.

It runs on a SQLite file, ``letters.db``, in the current directory. Several processes on it would share the limits.
"""

import asyncio

from pydantic import BaseModel

from cloaca import Queue, RunHandle, Runner, Workflow, task

at_work: set[str] = set()
together: list[int] = []  # how many were at work when each began


class Letter(BaseModel):
    to: str


class Sent(BaseModel):
    to: str


@task(queue="mail")
async def send(letter: Letter) -> Sent:
    at_work.add(letter.to)
    together.append(len(at_work))
    await asyncio.sleep(0.05)
    at_work.remove(letter.to)
    return Sent(to=letter.to)


letters = Workflow("letters", send)


async def main() -> None:
    mail = Queue("mail", concurrency=2, rate="5/hour")
    async with Runner("sqlite:///letters.db", workflows=[letters], queues=[mail]) as runner:
        handles = [await runner.start(letters, Letter(to=name)) for name in ("ada", "bob", "cy", "dee", "eve")]
        for handle in handles:
            print((await handle.result()).unwrap().to)
        print(f"at most {max(together)} at a time")
        await hold_back(await runner.start(letters, Letter(to="fay"), priority=5))


async def hold_back(sixth: RunHandle[Sent, object]) -> None:
    while (waiting := await sixth.why()).until is None:
        await asyncio.sleep(0.01)
    print(f'the sixth waits for a {waiting.kind}: task "{waiting.task}", queue "{waiting.field}"')
    await sixth.cancel()
    print(await sixth.status())


if __name__ == "__main__":
    asyncio.run(main())
