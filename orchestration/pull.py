"""Pull assets and jobs, made from the catalogue: one run per system, its entities as assets in threads.

How an entity is read belongs in ``sources/connectors``; when it is pulled, in ``schedules.py``.

For each system there are ``pull_<system>``, which takes what is new, and ``backfill_<system>``, a job with a partition per day of
Asia/Shanghai, which takes the window of that day again without moving the cursor. Only the job is partitioned: an entity is one
asset, whatever days it was pulled for.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from typing import Any

import dagster as dg

from orchestration.resources import failure, say
from sources import spool
from sources.catalogue import Entity, System, is_set_up
from sources.errors import PullError, SscError
from sources.landing import Manifest

THREADS = 4
FIRST_DAY = "2024-01-01"

Pull = Callable[..., Manifest]


class Window(dg.Config):
    """The window of a backfill, ISO 8601 with an offset; empty for an ordinary pull."""

    since: str | None = None
    until: str | None = None


def asset_key(system: str, entity: str) -> dg.AssetKey:
    return dg.AssetKey([system, entity])


def pull_assets(system: System, pull: Pull | None = None) -> dg.AssetsDefinition:
    """The entities of a system as one step: each is attempted, whole ones materialise, then it fails once with every cause."""

    @dg.multi_asset(
        name=_step(system),
        can_subset=True,
        specs=[
            dg.AssetSpec(
                asset_key(system.id, entity.name),
                description=f"{entity.name_zh} · {entity.description}",
                group_name="pull",
                kinds={system.delivery, "parquet"},
                skippable=True,
                tags={"system": system.id},
                metadata={"contract": f"sources/catalog/{system.path.name}", "contract_version": system.version},
            )
            for entity in system.entities
        ],
    )
    def assets(context: dg.AssetExecutionContext, config: Window) -> Iterator[dg.MaterializeResult]:
        chosen = [e for e in system.entities if asset_key(system.id, e.name) in context.selected_asset_keys]
        since, until = (datetime.fromisoformat(text) if text else None for text in (config.since, config.until))
        failures: list[SscError] = []
        with ThreadPoolExecutor(THREADS, thread_name_prefix=system.id) as threads:
            running = {threads.submit(_pull_one, pull, entity, since, until): entity for entity in chosen}
            for done in as_completed(running):
                entity, result = running[done], done.result()
                if isinstance(result, SscError):
                    failures.append(result)
                    say(context, f"{entity.name}: failed")
                    continue
                if not result:
                    say(context, f"{entity.name}: none of its servers keeps a history")
                    continue
                rows, reached = sum(manifest.rows for manifest in result), max(manifest.window_until for manifest in result)
                say(context, f"{entity.name}: {rows:,} rows up to {reached}")
                yield dg.MaterializeResult(asset_key=asset_key(system.id, entity.name), metadata=_metadata(result))
        if failures:
            raise failure(_all_of(system, failures))

    return assets


def _step(system: System) -> str:
    """Name of the step; the job's own is taken by its graph."""
    return f"entities_of_{system.id}"


def _pull_one(pull: Pull | None, entity: Entity, since: datetime | None, until: datetime | None) -> list[Manifest] | SscError:
    """Pull the entity from each of its servers that has an address; a backfill asks those that keep their history. Where none has
    one, the first says which setting is missing."""
    asked = [of for of in entity.deliveries if not (since and of.server.delivery == "stream")]
    return _attempt(pull, [of for of in asked if is_set_up(of)] or asked[:1], since, until)


def _attempt(pull: Pull | None, deliveries: list[Entity], since: datetime | None, until: datetime | None) -> list[Manifest] | SscError:
    """The loads of an entity from these servers, or what was in the way."""
    from sources import connectors

    try:
        return [(pull or connectors.pull)(of, since=since, until=until) for of in deliveries]
    except SscError as error:
        return error
    except Exception as error:  # a connector's bug must not hide what became of the other entities
        entity = deliveries[0]
        return PullError(
            f"{type(error).__name__}: {error}",
            where=f"{entity.system}/{entity.name}",
            next_step="this is a fault of the connector: report it with the run's log",
        )


def take_messages(context: dg.AssetExecutionContext, systems: Mapping[str, System]) -> None:
    """What the collector has received becomes loads, for the build that is about to begin: no message waits for its system's next pull.

    What cannot be taken holds up nothing here: that pull says what is wrong, and alerts.
    """
    for server in waiting_messages(systems):
        result = _attempt(None, [server], None, None)
        if isinstance(result, SscError):
            say(context, f"messages: {result}")
            continue
        [manifest] = result
        say(context, f"messages: {server.system}/{server.name}: {manifest.rows:,} rows up to {manifest.window_until}")
        context.log_event(dg.AssetMaterialization(asset_key(server.system, server.name), metadata=_metadata(result)))


def waiting_messages(systems: Mapping[str, System]) -> dict[Entity, list[str]]:
    """The entities, each as one of its servers delivers it, of whose messages some are in no load; with the names of their segments."""
    found = {}
    for system in systems.values():
        for server in (server for entity in system.entities for server in entity.deliveries if server.server.delivery == "stream"):
            segments = spool.closed(spool.folder(server.system, server.server.name, server.name))
            if segments:
                found[server] = [segment.name for segment in segments]
    return found


def _metadata(manifests: list[Manifest]) -> dict[str, Any]:
    """Of the loads of one entity: what they hold together, and the names and places of the newest."""
    manifest = max(manifests, key=lambda one: one.window_until)
    return {
        "dagster/row_count": sum(one.rows for one in manifests),
        "bytes": sum(one.bytes for one in manifests),
        "load_id": manifest.load_id,
        "window_since": str(manifest.window_since or "the beginning"),
        "window_until": str(manifest.window_until),
        "path": dg.MetadataValue.path(str(manifest.path)),
    }


def _all_of(system: System, failures: list[SscError]) -> SscError:
    if len(failures) == 1:
        return failures[0]
    causes = "".join(f"\n  {error}" for error in sorted(failures, key=str))
    return PullError(
        f"{len(failures)} of {len(system.entities)} entities could not be pulled:{causes}",
        where=system.id,
        next_step=f"mend the causes above, then run `python -m orchestration pull {system.id}`",
    )


def pull_jobs(system: System) -> list[Any]:
    """``pull_<system>`` and ``backfill_<system>``."""
    selection = [asset_key(system.id, entity.name) for entity in system.entities]

    @dg.daily_partitioned_config(start_date=FIRST_DAY, timezone="Asia/Shanghai")
    def day(start: datetime, end: datetime) -> dict[str, Any]:
        return {"ops": {_step(system): {"config": {"since": start.isoformat(), "until": end.isoformat()}}}}

    return [
        dg.define_asset_job(
            f"pull_{system.id}",
            selection=selection,
            description=f"{system.name_zh} · pull what is new",
            tags={"ssc/system": system.id},
        ),
        dg.define_asset_job(
            f"backfill_{system.id}",
            selection=selection,
            config=day,
            description=f"{system.name_zh} · pull the window of one day again",
            tags={"ssc/system": system.id},
        ),
    ]
