"""A year of schedules in a moment: what a nightly and an hourly schedule do when the clocks are set, and after a stop.

The simulation runs the real scheduler on virtual time. The last part uses a database, ``schedules.db``, in the current
directory.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from cloaca import BlockingRunner, TaskContext, Workflow, task
from cloaca.testing import Cron, Scenario, World, crash_after_commit, simulate_schedules

BERLIN = ZoneInfo("Europe/Berlin")


class Site(BaseModel):
    name: str


class Backup(BaseModel):
    label: str


@task
def back_up(site: Site, *, ctx: TaskContext) -> Backup:
    return Backup(label=f"{site.name} {ctx.scheduled_for:%Y-%m-%d}")


backups = Workflow("backups", back_up)
SITE = Site(name="shop")


def show(title: str, world: World, day: datetime) -> None:
    times = [firing.scheduled_for.astimezone(BERLIN) for firing in world.firings("backups")]
    print(f"{title}: {', '.join(f'{at:%H:%M}' for at in times if at.date() == day.date())}")


nightly = Cron(backups, "30 2 * * *", timezone="Europe/Berlin", input=SITE)
year = simulate_schedules([nightly], start=datetime(2030, 1, 1), until=datetime(2031, 1, 1))
print(f"nightly in 2030: {len(year.firings('backups'))} firings")
show("nightly, the clock goes from 02:00 to 03:00", year, datetime(2030, 3, 31))
show("nightly, 02:00 to 03:00 comes twice", year, datetime(2030, 10, 27))

POLICIES: tuple[Literal["latest", "all"], ...] = ("latest", "all")
for catchup in POLICIES:
    stopped = simulate_schedules(
        [Cron(backups, "30 2 * * *", input=SITE, catchup=catchup)],
        start=datetime(2030, 5, 1),
        until=datetime(2030, 5, 11),
        scenario=Scenario(crash_after_commit("firing:backups", 4, downtime=4 * 86_400)),
    )
    print(f"ten nights, nobody there for four of them, catchup={catchup}: {len(stopped.firings('backups'))} firings")

with BlockingRunner("sqlite:///schedules.db", workflows=[backups]) as runner:
    runner.schedule(backups, name="nightly", cron="30 2 * * *", timezone="Europe/Berlin", input=SITE)
    schedule = runner.schedules.get("nightly")
    assert schedule.next_at is not None
    assert schedule.next_at > datetime.now(UTC)
    start = datetime(2024, 2, 28)
    print(f"backfill: {runner.schedules.backfill('nightly', start, start + timedelta(days=3))} firings")
    firings = runner.schedules.history("nightly")
    while firings[0].run_id is None:
        firings = runner.schedules.history("nightly")
    for firing in reversed(firings):
        print(f"{firing.scheduled_for:%d %b %H:%M} UTC, {runner.get(firing.run_id or '').result().unwrap().label}")
