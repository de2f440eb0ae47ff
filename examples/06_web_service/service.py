"""A web service that starts runs and says how they are. One runner lives as long as the service, in its lifespan.

Serve it by ``uvicorn service:app``. It runs on ``$CLOACA_DATABASE_URL``, else on ``cloaca.db`` in this directory.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from orders import OrderRef, orders
from pydantic import ValidationError
from returns.result import Failure, Success
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloaca import KeyConflict, Runner, RunNotFound, StoreUnavailable

LONGEST_S = 60


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with Runner(workflows=[orders]) as runner:  # work=False, if `cloaca worker` is to do the work
        app.state.runner = runner
        yield


async def place(request: Request) -> Response:
    """Start a run. It is durable when this answers: a client that hears nothing asks again, with the same key."""
    runner: Runner = request.app.state.runner
    try:
        ref = OrderRef.model_validate_json(await request.body())
    except ValidationError as error:
        return JSONResponse({"errors": error.errors(include_url=False, include_context=False)}, 422)
    key = request.headers.get("idempotency-key") or f"order-{ref.order_id}"
    try:
        handle = await runner.start(orders, ref, key=key)
    except KeyConflict as error:
        return JSONResponse({"error": str(error)}, 409)
    except StoreUnavailable:
        return JSONResponse({"error": "try again in a moment"}, 503)
    return JSONResponse({"run": handle.id}, 202, headers={"location": f"/orders/{handle.id}"})


async def show(request: Request) -> Response:
    """Say how a run is. With ``?wait=5``, wait so many seconds for its end first."""
    runner: Runner = request.app.state.runner
    try:
        handle = await runner.get(request.path_params["run"])
    except RunNotFound as error:
        return JSONResponse({"error": str(error)}, 404)
    wait = request.query_params.get("wait", "0")
    try:
        outcome = await handle.result(timeout=min(int(wait), LONGEST_S) if wait.isdecimal() else 0)
    except TimeoutError:
        return JSONResponse({"run": handle.id, "status": await handle.status()})
    match outcome:
        case Success(shipment):
            return JSONResponse({"run": handle.id, "status": "succeeded", "output": shipment.model_dump(mode="json")})
        case Failure(failed):
            why = None if failed.error is None else failed.error.model_dump(mode="json")
            return JSONResponse({"run": handle.id, "status": failed.status, "task": failed.task, "error": why})


app = Starlette(
    routes=[Route("/orders", place, methods=["POST"]), Route("/orders/{run}", show)],
    lifespan=lifespan,
)
