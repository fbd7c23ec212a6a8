"""Police dispatch: calls for the police and hours of patrol, kept in an SQL database that is changed in place.

Belongs here: what is called in, which calls belong to an event of grid management, the faults planted among them, and the
database itself: SQLite below the district's home, or PostgreSQL by SSC_DISTRICT_POLICE_URL. The police have their own case
codes (`police_case_types.csv`, with the incident type that each one means, which goes into the truth and nowhere else).

Every state of a dispatch has the next change number, given when the change begins. The database shows of each dispatch the
state that has been committed last: one batch is committed late, so that numbers lower than some already seen come to sight.
"""

from __future__ import annotations

import csv
import os
import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from sources.reference_district import people, rates
from sources.reference_district.district import (
    DAY,
    NEVER,
    OFFSET,
    PACKAGE,
    District,
    DistrictError,
    at,
    date_texts,
    home,
    iso,
    iso_texts,
    seconds,
)
from sources.reference_district.faults import Breaker, Fault
from sources.reference_district.geography import SUBDISTRICTS, all_incident_types, codes_on, communities, populations

SYSTEM = "police_dispatch"
LINKED_SHARE = 0.05
UNKNOWN, OTHER = "9999", "A99"  # a code that no list has, and what a product can make of it
FIRST_NUMBER = 100_001
LATE_BATCH_AMONG = 60  # the batch committed late lies among so many of the last changes before the clock starts
LATE_BATCH_HOURS = 2
STATES = ("received", "dispatched", "arrived", "closed")
DISPATCH_COLUMNS = {
    "jjd_bh": "VARCHAR(20) PRIMARY KEY",
    "ajlx_dm": "VARCHAR(10)",
    "sq_dm": "VARCHAR(20)",
    "sfdd": "VARCHAR(200)",
    "bjr_xm": "VARCHAR(60)",
    "bjr_dh": "VARCHAR(20)",
    "jq_nr": "TEXT",
    "jj_sj": "{timestamp}",
    "pj_sj": "{timestamp}",
    "dd_sj": "{timestamp}",
    "jj_wb_sj": "{timestamp}",
    "zt": "VARCHAR(20)",
    "ly": "VARCHAR(20)",
    "gl_bh": "VARCHAR(20)",
    "bgxh": "BIGINT NOT NULL",
}
PATROL_COLUMNS = {
    "xl_rq": "DATE",
    "sq_dm": "VARCHAR(20)",
    "xl_ss": "NUMERIC(8, 2)",
    "jl_rs": "INTEGER",
    "gx_sj": "{timestamp} NOT NULL",
}
TABLES = {
    "dispatch": (DISPATCH_COLUMNS, ("jjd_bh",), "bgxh"),
    "patrol_hours_day": (PATROL_COLUMNS, ("xl_rq", "sq_dm"), "gx_sj"),
}
TYPES = {"sqlite": {"timestamp": "TIMESTAMP"}, "postgresql": {"timestamp": "TIMESTAMP WITH TIME ZONE"}}


@dataclass(frozen=True)
class CaseType:
    code: str
    name: str
    incident_type: str
    weight: float


@dataclass
class Generated:
    """States of the rows of each table (``_key, _visible, _next`` and the table's columns), faults, truth."""

    tables: dict[str, pl.DataFrame]
    faults: list[Fault]
    truth: dict[str, pl.DataFrame]


@cache
def case_types() -> tuple[CaseType, ...]:
    with open(PACKAGE / "police_case_types.csv", encoding="utf-8", newline="") as file:
        return tuple(CaseType(r["case_type_code"], r["name_zh"], r["incident_type_id"], float(r["weight"])) for r in csv.DictReader(file))


def generate(district: District, events: pl.DataFrame) -> Generated:
    """Both tables. events: the truth of grid_event, some of which the police were called to."""
    result = Generated({}, [], {})
    _dispatches(district, result, events)
    _patrols(district, result)
    return result


def save(result: Generated, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, frame in result.tables.items():
        frame.write_parquet(folder / f"{name}.parquet", compression="lz4")


def _calls(district: District, events: pl.DataFrame) -> pl.DataFrame:
    """Place, kind, time of the call and linked event of every dispatch, in no order."""
    places, types, total = communities(district), case_types(), district.scale.dispatches
    parts = []
    for i, _, rng, kind, day in rates.occurrences(
        district, "dispatch", [t.incident_type for t in types], [t.weight for t in types], total * (1 - LINKED_SHARE)
    ):
        second = rates.seconds_of_day(district, rng, day, np.zeros(len(day), dtype=bool), rates.ROUND_THE_CLOCK)
        parts.append(pl.DataFrame({"place": np.full(len(kind), i), "kind": kind, "received": day * DAY - OFFSET + second}))
    own = pl.concat(parts).with_columns(linked=pl.lit(None, pl.Utf8), code=pl.lit(None, pl.Utf8))
    number_of = {t.incident_type: n for n, t in enumerate(types)}
    pool = events.filter(
        pl.col("type_code").is_in(sorted(number_of)) & ~pl.col("is_broken") & (pl.col("arrival_1") - pl.col("reported_at") < 7200)
    )
    span = (district.end - district.start) / (district.as_of - district.start)
    rng = district.rng("dispatch", "links")
    chosen = pool[np.sort(rng.permutation(len(pool))[: round(total * LINKED_SHARE * span)])]
    index = {c.code: i for i, c in enumerate(places)}
    linked = pl.DataFrame(
        {
            "place": [index[c] for c in chosen["community_code"]],
            "kind": [number_of[t] for t in chosen["type_code"]],
            "received": chosen["reported_at"].to_numpy() + rng.integers(120, 7000, len(chosen)),
            "linked": chosen["event_id"],
            "code": chosen["community_code"],
        },
        schema_overrides={"place": pl.Int64, "kind": pl.Int64},
    )
    return pl.concat([own, linked])


def _dispatches(district: District, result: Generated, events: pl.DataFrame) -> None:
    places, types = communities(district), case_types()
    frame = _calls(district, events)
    rng = district.rng("dispatch", "lives")
    count, received = len(frame), frame["received"].to_numpy()
    dispatched = received + (rng.lognormal(np.log(2.2), 0.6, count) * 60).astype(np.int64) + 20
    arrived = dispatched + (rng.lognormal(np.log(9), 0.5, count) * 60).astype(np.int64) + 60
    closed = arrived + (rng.lognormal(np.log(75), 1.2, count) * 60).astype(np.int64) + 300
    fate = rng.random(count)
    closed[fate < 0.02] = NEVER
    arrived[fate < 0.004] = NEVER
    late = (rng.random(count) < 0.0008) & frame["linked"].is_null().to_numpy()
    delay = np.where(late, rng.integers(3 * DAY, 20 * DAY, count), 0)
    moments = np.stack([received, dispatched, arrived, closed])
    begun = np.where(moments < NEVER, np.minimum(moments, NEVER // 2) + delay + rng.integers(2, 25, moments.shape), NEVER)
    for state in range(1, 4):  # two changes of a dispatch never begin in the same second
        begun[state] = np.where(begun[state] < NEVER, np.maximum(begun[state], np.minimum(begun[state - 1], NEVER // 2) + 1), NEVER)
    frame = frame.with_columns(
        pl.Series("late", late),
        *[pl.Series(f"m{n}", moments[n]) for n in range(4)],
        *[pl.Series(f"b{n}", begun[n]) for n in range(4)],
    )
    frame = frame.filter(pl.col("b0") <= district.end).sort("b0", "place", "kind", "received")
    count, place, kind = len(frame), frame["place"].to_numpy(), frame["kind"].to_numpy()
    moments = np.stack([frame[f"m{n}"].to_numpy() for n in range(4)])
    begun = np.stack([frame[f"b{n}"].to_numpy() for n in range(4)])
    in_force = codes_on(places, place, (moments[0] + OFFSET) // DAY)
    code = frame["code"].fill_null(pl.Series(in_force))
    rng = district.rng("dispatch", "texts")
    names = pl.Series([t.name for t in types])[kind]
    where = (
        pl.Series([SUBDISTRICTS[c.subdistrict] for c in places])[place]
        + pl.Series([c.name for c in places])[place]
        + pl.Series(rng.integers(1, 80, count)).cast(pl.Utf8)
        + "栋"
    )
    year = pl.select(pl.from_epoch(pl.Series(begun[0]) + OFFSET, time_unit="s").dt.strftime("%y")).to_series()
    ids = ("PD" + year + pl.Series(np.arange(1, count + 1)).cast(pl.Utf8).str.zfill(8)).alias("dispatch_id")
    channel = np.where(rng.random(count) < 0.9, "110", "patrol")
    fixed = pl.DataFrame(
        {
            "jjd_bh": ids,
            "ajlx_dm": pl.Series([t.code for t in types])[kind],
            "sq_dm": code,
            "sfdd": where,
            "bjr_xm": people.names(rng, count),
            "bjr_dh": people.phones(rng.integers(0, 10**8, count)),
            "jq_nr": "报警人称" + where + "发生" + names + "，请求处理。",
            "jj_sj": iso_texts(moments[0]),
            "ly": pl.Series(np.where(frame["linked"].is_not_null().to_numpy(), "transfer", channel)),
            "gl_bh": frame["linked"],
        }
    )
    breaker = Breaker(district, SYSTEM, result.faults, "dispatch", ids, begun[0])
    unlinked = frame["linked"].is_null().to_numpy()
    breaker.plant(15, "empty_required", "case_type_code:required", "ajlx_dm", None)
    breaker.plant(12, "empty_required", "received_at:required", "jj_sj", None)
    breaker.plant(15, "number_as_science", "community_code:pattern", "sq_dm", "4.40304E+11")
    breaker.plant(15, "unknown_value", "call_channel:enum", "ly", "微信", unlinked)
    for i in breaker.take(12, unlinked):
        breaker.replaced[int(i)] = {"gl_bh": f"GE99{int(i):08d}"}
        breaker.note(i, "dangling_link", "kept", note="names a case that grid management does not know: it stands alone")
    unknown = breaker.take(12, unlinked)
    for i in unknown:
        breaker.replaced[int(i)] = {"ajlx_dm": UNKNOWN}
        breaker.note(i, "unknown_code", "kept", note=f"no list has the code: its type is {OTHER}, other")
    for i in np.flatnonzero(frame["late"].to_numpy() & (begun[0] < district.as_of) & np.isin(np.arange(count), breaker.pool)).tolist():
        breaker.note(i, "late", "kept", note="typed in 3 to 20 days after the call")
    for column in {name for changes in breaker.replaced.values() for name in changes}:
        values = fixed[column].to_list()
        for i, changes in breaker.replaced.items():
            if column in changes:
                values[i] = changes[column]
        fixed = fixed.with_columns(pl.Series(column, values, dtype=pl.Utf8))
    nothing = np.full(count, NEVER)
    changes_ = pl.concat(
        [
            pl.DataFrame(
                {
                    "_key": np.arange(count),
                    "_begun": begun[state],
                    "pj_sj": iso_texts(moments[1] if state >= 1 else nothing),
                    "dd_sj": iso_texts(moments[2] if state >= 2 else nothing),
                    "jj_wb_sj": iso_texts(moments[3] if state >= 3 else nothing),
                }
            ).with_columns(zt=pl.lit(STATES[state]))
            for state in range(4)
        ]
    )
    changes_ = changes_.filter(pl.col("_begun") <= district.end).sort("_begun", "_key")
    changes_ = changes_.with_columns(bgxh=pl.int_range(FIRST_NUMBER, FIRST_NUMBER + len(changes_), dtype=pl.Int64))
    changes_ = _commit(district, result.faults, changes_, ids)
    result.tables["dispatch"] = (
        pl.concat([changes_, fixed[changes_["_key"]]], how="horizontal")
        .select("_key", "_visible", "_next", *DISPATCH_COLUMNS)
        .sort("_visible", "bgxh")
    )
    first = changes_.group_by("_key").agg(pl.col("_visible").min()).sort("_key")["_visible"]
    successor = {c.code: c.merged_into or c.code for c in places}
    category = {t.code: t.category for t in all_incident_types()}
    kinds = [types[k].incident_type for k in kind.tolist()]
    for i in unknown.tolist():
        kinds[i] = OTHER
    result.truth["dispatch"] = pl.DataFrame(
        {
            "dispatch_id": ids,
            "case_type_code": pl.Series([t.code for t in types])[kind],
            "type_code": kinds,
            "category": [category[t] for t in kinds],
            "community_code": code,
            "current_community_code": [successor[c] for c in code],
            "linked_event_id": frame["linked"],
            "received_at": moments[0],
            **{
                f"{name}_at": np.where(moments[n] < NEVER, moments[n], -1) for n, name in ((1, "dispatched"), (2, "arrived"), (3, "closed"))
            },
            "arrival_1": first,
            **breaker.outcome(),
        }
    )


def _commit(district: District, faults: list[Fault], changes: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """``_visible``: when each change is committed, which is at once but for one batch; ``_next``: when the key's next one is.

    The batch: dispatches whose life so far lies within the last changes before the clock's start, every second one, but never
    the one with the very last change. So a reader who came at the start has read a higher number.
    """
    start, commit = district.clock_start, district.clock_start + LATE_BATCH_HOURS * 3600
    before = changes.filter(pl.col("_begun") <= start)
    last = before.tail(LATE_BATCH_AMONG)
    older = set(before.head(max(0, len(before) - LATE_BATCH_AMONG))["_key"].to_list())
    young = [k for k in last["_key"].unique(maintain_order=True).to_list() if k not in older and k != last["_key"][-1]]
    batch = young[::2]
    for k in batch:
        numbers = before.filter(pl.col("_key") == k)["bgxh"].to_list()
        faults.append(
            Fault(
                SYSTEM,
                "dispatch",
                {ids.name: ids[k]},
                "late_commit",
                "kept",
                commit,
                note=f"change numbers {', '.join(map(str, numbers))} are committed {LATE_BATCH_HOURS} hours after higher ones"
                f" (at most {LATE_BATCH_AMONG} numbers back)",
            )
        )
    changes = changes.with_columns(
        _visible=pl.when(pl.col("_key").is_in(batch))
        .then(pl.max_horizontal("_begun", pl.lit(commit, pl.Int64)))
        .otherwise(pl.col("_begun"))
    )
    # of several changes of a key committed together only the last is ever seen
    return changes.sort("_key", "bgxh").with_columns(_next=pl.col("_visible").shift(-1).over("_key").fill_null(NEVER))


def _patrols(district: District, result: Generated) -> None:
    """Hours by community and day: at hand at six in the morning two days later, a few put right some days after that."""
    places = communities(district)
    days = np.arange(district.first_day - 2, district.first_day + (district.end - district.start) // DAY - 1)
    head = populations(places, days)
    rng = district.rng("patrol_hours_day")
    level = np.array([{"village": 1.5, "mixed": 1.2, "": 3.0}.get(c.kind, 0.8) for c in places])[:, None] * head / 1000
    weekend = np.where(np.isin((days + 3) % 7, [4, 5]), 1.25, 1.0)  # 1970-01-01 was a Thursday: Friday and Saturday
    hours = np.round(np.maximum(2.0, level * 1.6 * weekend * rng.lognormal(0, 0.18, head.shape)), 1)
    officers = np.maximum(1, np.round(hours / rng.uniform(5.0, 7.5, head.shape))).astype(np.int64)
    exists = head > 0
    exists |= np.array([[c.kind == ""] for c in places]) & np.ones_like(exists)
    place, day = np.nonzero(exists)
    order = np.lexsort((place, day))
    place, day = place[order], day[order]
    count = len(place)
    base = pl.DataFrame(
        {
            "_key": np.arange(count),
            "_visible": np.array([at(int(d) + 2, 6) for d in days])[day] + rng.integers(0, 900, count),
            "xl_rq": date_texts(days[day]),
            "sq_dm": np.array([c.code for c in places])[place],
            "xl_ss": hours[place, day],
            "jl_rs": officers[place, day],
        }
    )
    keys = base.select(pl.struct("xl_rq", "sq_dm").alias("key"))["key"].to_list()
    candidates = np.flatnonzero((base["_visible"].to_numpy() < district.as_of) & (base["_visible"].to_numpy() > district.start))
    chosen = rng.permutation(candidates)
    n = district.faults(12)
    negative, crowded = chosen[:n], chosen[n : 2 * n]
    corrected = chosen[2 * n : 2 * n + round(0.01 * len(candidates))]
    xl_ss, jl_rs = base["xl_ss"].to_numpy().copy(), base["jl_rs"].to_numpy().copy()
    xl_ss[negative], jl_rs[crowded] = -8.0, 9999
    broken = np.zeros(count, dtype=bool)
    broken[negative] = broken[crowded] = True
    for i, kind, rule in [(i, "negative_amount", "patrol_hours:range") for i in negative.tolist()] + [
        (i, "out_of_range", "officer_count:range") for i in crowded.tolist()
    ]:
        key = {"patrol_date": keys[i]["xl_rq"], "community_code": keys[i]["sq_dm"]}
        result.faults.append(Fault(SYSTEM, "patrol_hours_day", key, kind, "quarantined", int(base["_visible"][i]), rule))
    base = base.with_columns(pl.Series("xl_ss", xl_ss), pl.Series("jl_rs", jl_rs))
    again = base[np.sort(corrected)]
    again = again.with_columns(
        _visible=pl.col("_visible") + pl.Series(rng.integers(1, 6, len(again)) * DAY),
        xl_ss=(pl.col("xl_ss") * pl.Series(rng.uniform(0.7, 1.3, len(again)))).round(1),
    )
    states = pl.concat([base, again]).filter(pl.col("_visible") <= district.end).sort("_key", "_visible")
    states = states.with_columns(
        pl.col("_visible").shift(-1).over("_key").fill_null(NEVER).alias("_next"), iso_texts(states["_visible"].to_numpy()).alias("gx_sj")
    )
    result.tables["patrol_hours_day"] = states.select("_key", "_visible", "_next", *PATROL_COLUMNS).sort("_visible", "_key")
    result.truth["patrol_hours_day"] = states.select(
        key=pl.concat_str("xl_rq", pl.lit(" "), "sq_dm"),
        arrival=pl.col("_visible"),
        patrol_date=pl.col("xl_rq"),
        community_code=pl.col("sq_dm"),
        patrol_hours=pl.col("xl_ss"),
        officer_count=pl.col("jl_rs"),
        is_broken=pl.Series(broken)[states["_key"]],
    )


# The database


def address() -> URL:
    """Where the database is: SSC_DISTRICT_POLICE_URL (its password there or in SSC_DISTRICT_POLICE_PASSWORD), else SQLite.

    Raises:
        DistrictError: no URL of SQLite or PostgreSQL.
    """
    given = os.environ.get("SSC_DISTRICT_POLICE_URL")
    if not given:
        return URL.create("sqlite", database=str(home() / "police_dispatch" / "dispatch.db"))
    try:
        url = make_url(given)
    except sa.exc.ArgumentError as error:
        raise DistrictError("no database URL", where="SSC_DISTRICT_POLICE_URL", next_step="postgresql://user@host/database") from error
    password = os.environ.get("SSC_DISTRICT_POLICE_PASSWORD")
    if password:
        url = url.set(password=password)
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise DistrictError(
            f"{url.get_backend_name()} is no database the police use",
            where="SSC_DISTRICT_POLICE_URL",
            next_step="give a URL of PostgreSQL, or none for SQLite",
        )
    return url


def settings_of(url: URL) -> dict[str, str]:
    """What a product needs to read it: SSC_POLICE_DISPATCH_URL, and the password apart from it."""
    bare = url._replace(drivername=url.get_backend_name(), password=None)  # URL.set leaves a password that is to be None
    lines = {"SSC_POLICE_DISPATCH_URL": bare.render_as_string(hide_password=False)}
    return lines | ({"SSC_POLICE_DISPATCH_PASSWORD": str(url.password)} if url.password else {})


def replay(folder: Path, to: int) -> int:
    """Make the database show what has been committed by `to`, in one transaction; returns the number of rows written.

    folder: where `save` wrote. On from where it stands it inserts and updates rows in place; back, or with another district
    in it, everything is written anew.

    Raises:
        DistrictError: the database does not answer.
    """
    url = address()
    if url.get_backend_name() == "sqlite":
        _prepare_file(Path(str(url.database)))
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            for statement in _definitions(engine.dialect.name):
                connection.exec_driver_sql(statement)
            stand = connection.exec_driver_sql("SELECT fingerprint, moment FROM replay_stand").fetchone()
            before = seconds(stand[1], "replay_stand") if stand and stand[0] == folder.parent.name else None
            if before is not None and before > to:
                before = None
            written = 0
            for name, (columns, keys, _) in TABLES.items():
                if before is None:
                    connection.exec_driver_sql(f"DELETE FROM {name}")
                states = pl.scan_parquet(folder / f"{name}.parquet").filter((pl.col("_visible") <= to) & (pl.col("_next") > to))
                if before is not None:
                    states = states.filter(pl.col("_visible") > before)
                rows = states.select(list(columns)).collect().rows()
                if rows:
                    connection.exec_driver_sql(_upsert(name, list(columns), keys, engine.dialect.name), rows)
                written += len(rows)
            connection.exec_driver_sql("DELETE FROM replay_stand")
            connection.execute(
                sa.text("INSERT INTO replay_stand (fingerprint, moment) VALUES (:f, :m)"), {"f": folder.parent.name, "m": iso(to)}
            )
        return written
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise DistrictError(
            f"the police's database does not take the replay ({str(error).splitlines()[0]})",
            where=url.render_as_string(hide_password=True),
            next_step="see that it runs and that the account may create tables, or unset SSC_DISTRICT_POLICE_URL to use a file",
        ) from error
    finally:
        engine.dispose()


def _prepare_file(path: Path) -> None:
    """A file that its owner alone may read, in the mode in which readers never block."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _definitions(dialect: str) -> list[str]:
    types = TYPES[dialect]
    statements = ["CREATE TABLE IF NOT EXISTS replay_stand (fingerprint VARCHAR(20), moment VARCHAR(40))"]
    for name, (columns, keys, version) in TABLES.items():
        parts = [f"{column} {kind.format(**types)}" for column, kind in columns.items()]
        if len(keys) > 1:
            parts.append(f"PRIMARY KEY ({', '.join(keys)})")
        statements.append(f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(parts)})")
        statements.append(f"CREATE INDEX IF NOT EXISTS {name}_{version} ON {name} ({version})")
    return statements


def _upsert(name: str, columns: list[str], keys: tuple[str, ...], dialect: str) -> str:
    marks = ", ".join(["?" if dialect == "sqlite" else "%s"] * len(columns))
    changed = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys)
    return f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
