"""Pulling one entity: which window, by which connector, into which load. One module beside this one per way of delivery.

A connector reads a window of an entity and hands its rows to a :class:`sources.landing.LoadWriter`; it never knows a department.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sources.catalogue import Entity
from sources.connectors import database, files, rest, stream
from sources.errors import PullError
from sources.landing import Landing, Manifest
from sources.protect import check_key, identifier_key
from sources.settings import now

RESOLUTION = timedelta(seconds=1)  # of the clock and of load ids
CONNECTORS = {"rest": rest.read, "database": database.read, "files": files.read, "stream": stream.read}
EARLY = 0.75  # of a server's frequency: schedules tick a little early or late, and one that comes early must not wait for the next


def pull(entity: Entity, *, since: datetime | None = None, until: datetime | None = None, landing: Landing | None = None) -> Manifest:
    """Pull what is new at the entity's server, or, with ``since``, backfill the window (since, until].

    A window without news makes an empty load, so that the clock of the data moves on. A backfill never moves the cursor. Where the
    clock has not moved on by about the server's frequency since the newest load, that load is returned and the source is not asked;
    messages that the collector has received are there for the taking. An entity with several servers is pulled from each of
    ``entity.deliveries``.

    Raises:
        PullError: the source could not be read; nothing was landed.
    """
    landing = landing or Landing()
    where = f"{entity.system}/{entity.name}"
    if entity.data_level != "一般":
        raise PullError(
            f"a column is classed {entity.data_level}; only data of level 一般 may be loaded",
            where=where,
            next_step=f"take the column out of sources/catalog/{entity.system}.yml, or have it classed anew by its owner",
        )
    if entity.server.delivery not in CONNECTORS:
        raise PullError(
            f"there is no connector for delivery {entity.server.delivery!r}",
            where=where,
            next_step=f"use one of {', '.join(CONNECTORS)} in the catalogue",
        )
    if entity.identifiers:
        check_key(landing.folder, identifier_key())
    server = "" if entity.server.is_first else entity.server.name
    newest = landing.newest(entity.system, entity.name, server)
    until = (until or now()).astimezone(UTC)
    is_backfill = since is not None
    if is_backfill:
        assert since is not None
        if newest and until > newest.until:
            raise PullError(
                f"a backfill may not reach beyond what was pulled ({newest.window_until})",
                where=where,
                next_step="pull first, then backfill a window that ends earlier",
            )
        if since >= until:
            raise PullError("the window is empty", where=where, next_step="give a since that lies before until")
        cursor = None
    elif newest:
        is_asked_seldom = len(entity.deliveries) > 1 and entity.server.delivery != "stream"
        if until < newest.until + (EARLY * entity.server.frequency if is_asked_seldom else RESOLUTION):
            return newest
        since, cursor = newest.until, landing.cursor(entity.system, entity.name, server)
    else:
        cursor = None
    with landing.writer(entity.system, entity.name, entity.contract_version, since, until, server) as writer:
        return CONNECTORS[entity.server.delivery](entity, writer, cursor, is_backfill)
