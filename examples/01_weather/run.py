"""Run the weather workflow in a directory, and show how it goes: what a program that embeds cloaca looks like.

Run it again after whatever happened to it, and it goes on where the database says that it was: the key makes both the
same run.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from models import Survey
from pipeline import weather
from progress import shown
from returns.result import Failure, Success
from vega_datasets import local_data

from cloaca import Runner


async def go(directory: Path, pace_s: float, fatal: str | None) -> int:
    """Start the run, or go on with it, and follow it to its end; return the exit code."""
    survey = Survey(
        directory=str(directory),
        pace_s=pace_s,
        airports_csv=local_data.airports.filepath,
        seattle_hours_csv=local_data.seattle_temps.filepath,
        sf_hours_csv=local_data.sf_temps.filepath,
        seattle_days_csv=local_data.seattle_weather.filepath,
    )
    async with Runner(directory / "weather.db", workflows=[weather]) as runner:
        handle = await runner.start(weather, survey, key="four years of Seattle")
        with shown(await handle.tasks()) as show:
            async for event in handle.events():
                show(event)
                if event.kind == "task_succeeded" and event.task == fatal:
                    await asyncio.sleep(0.2)  # for whoever watches
                    os.kill(os.getpid(), signal.SIGKILL)  # no handler, no clean-up, as when memory runs out
        match await handle.result():
            case Success(report):
                print(f"{report.headline}\n{report.page.path}")
                return 0
            case Failure(failed):
                print(failed, file=sys.stderr)
                return 1


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where to work; it is made if it is not there")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that each step takes longer, to be watched")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    return asyncio.run(go(options.directory.absolute(), options.pace, os.environ.get("KILL_AFTER")))


if __name__ == "__main__":
    sys.exit(main())
