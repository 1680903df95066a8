"""The pages that are looked at. Nothing here changes anything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from vauban.guard.console.desk import Here, Who
from vauban.guard.console.readings.board import PAGE, alerts_of, chains_of, rows_of, told_of
from vauban.guard.console.readings.devices import device_of, quotas_of
from vauban.guard.console.readings.ensembles import ensembles_of
from vauban.guard.console.readings.evidence import cluster_of, clusters_of, standings
from vauban.guard.console.readings.now import now_of
from vauban.guard.console.readings.scores import LEAST, scores_of

views = APIRouter()


@views.get("/")
def now(request: Request, here: Here, who: Who) -> HTMLResponse:
    """What the guard does now."""
    found = here.desk.recent("now", lambda: now_of(here.desk.store, here.desk.guard.config))
    return here.pages.page(request, "now", who, now=found)


@views.get("/scores")
def scores(request: Request, here: Here, who: Who, days: Annotated[int, Query(ge=1, le=8)] = 1) -> HTMLResponse:
    """What models say, against the reference."""
    calibration = here.desk.guard.watch.calibration
    found = here.desk.recent(f"scores {days}", lambda: scores_of(here.desk.store, calibration, days))
    return here.pages.page(request, "scores", who, models=found, days=days, least=LEAST, calibration=calibration)


@views.get("/evidence")
def evidence(request: Request, here: Here, who: Who) -> HTMLResponse:
    """What monitors make of it."""
    guard = here.desk.guard
    found = here.desk.recent("evidence", lambda: standings(here.desk.store, guard.watch.calibration))
    calibrated, mode = guard.watch.calibration is not None, guard.config.watch.monitors
    return here.pages.page(request, "evidence", who, monitors=found, calibrated=calibrated, mode=mode)


@views.get("/clusters")
def clusters(request: Request, here: Here, who: Who) -> HTMLResponse:
    """Attempts that look alike."""
    found, count = here.desk.recent("clusters", lambda: clusters_of(here.desk.store))
    return here.pages.page(request, "clusters", who, clusters=found, count=count, mode=here.desk.guard.config.watch.similarity)


@views.get("/clusters/{number}")
def cluster(request: Request, here: Here, who: Who, number: int) -> HTMLResponse:
    """One of them."""
    found = cluster_of(here.desk.store, number)
    if found is None:
        said = "There is no such cluster; fingerprints expire, and clusters with them."
        return here.pages.page(request, "none", who, 404, said=said)
    return here.pages.page(request, "cluster", who, cluster=found[0], members=found[1])


@views.get("/quotas")
def quotas(request: Request, here: Here, who: Who) -> HTMLResponse:
    """Who asks most, and who is locked."""
    config = here.desk.guard.config
    found = here.desk.recent("quotas", lambda: quotas_of(here.desk.store, config.limits))
    return here.pages.page(request, "quotas", who, quotas=found, named=config.session.device == "named", lockout=config.lockout)


@views.get("/quotas/device")
def device(request: Request, here: Here, who: Who, key: Annotated[str, Query(max_length=64)]) -> HTMLResponse:
    """One device."""
    found = device_of(here.desk.store, here.desk.guard.config.limits, key.strip().lower())
    if found is None:
        said = "No device is known whose hash begins so, or several are; give 8 digits or more."
        return here.pages.page(request, "none", who, 404, said=said)
    return here.pages.page(request, "device", who, device=found)


@views.get("/models")
def models(request: Request, here: Here, who: Who) -> HTMLResponse:
    """The ensembles."""
    guard = here.desk.guard
    found = here.desk.recent("models", lambda: ensembles_of(here.desk.store, guard.keys, guard.config))
    return here.pages.page(request, "models", who, ensembles=found)


@views.get("/alerts")
def alerts(request: Request, here: Here, who: Who) -> HTMLResponse:
    """What somebody should look at."""
    held, gone = alerts_of(here.desk.store)
    return here.pages.page(request, "alerts", who, held=held, gone=gone, webhooks=told_of(here.desk.store, here.desk.guard.config.webhook))


@views.get("/ledger")
def ledger(
    request: Request,
    here: Here,
    who: Who,
    chain: Annotated[str, Query(max_length=80)] = "",
    upto: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> HTMLResponse:
    """What was written."""
    found = chains_of(here.desk.store)
    name = chain or next(iter(dict(found.chains)), "")
    last = dict(found.chains).get(name, 0)
    rows = rows_of(here.desk.store, name, min(upto or last, last))
    return here.pages.page(request, "ledger", who, ledger=found, chain=name, rows=rows, step=PAGE, outcome=None)
