"""``make bench``: what the warehouse costs, printed as JSON. Figures to compare are ratios within one run: machines differ, and are noisy.

Readings are generated as the platform exports them (NDJSON, gzip, one file a day). ``BENCH_READINGS`` (default 50,000,000) sets how many
the throughput part takes; ``BENCH_PARTS`` names the parts to run: throughput, increment, pulling, latency. Nothing here is a test: no time
decides a build.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration.build import dbt_environment
from sources.catalogue import load_catalogue
from sources.protect import keyed_hash_sql
from sources.settings import root
from tests.latency import latency
from tests.postgres import Postgres, postgres, reason_to_skip
from tests.whole_way import MOMENTS, Warehouse, district

ENTITY = "waterlogging__water_level"
CHAIN = [f"base_{ENTITY}", f"stg_{ENTITY}", "+fct_sensor_hour"]
FIRST = date(2025, 1, 1)
MEMORY_LIMIT_MB = 2048
PULLED_ROWS, ROUNDS = 1_000_000, 3


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def export(folder: Path, first: date, days: int, devices: int, cadence_seconds: int) -> int:
    """Write one file of readings a day, in the platform's format; returns the number of readings."""
    per_day = devices * 86400 // cadence_seconds
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as engine:
        for number in range(days):
            day = first + timedelta(days=number)
            path = folder / f"water_level_{day:%Y%m%d}.ndjson.gz"
            engine.execute(
                f"""copy (
                    select
                        'urn:ngsi-ld:FloodMonitoring:' || (i % {devices}) as id, 'FloodMonitoring' as type,
                        'urn:ngsi-ld:Device:B-' || (i % {devices}) as "refDevice",
                        strftime(timestamp '{day}' + interval (i // {devices} * {cadence_seconds}) second, '%Y-%m-%dT%H:%M:%S+08:00')
                            as "dateObserved",
                        round(abs(hash(i + {number}) % 1000) / 1000.0, 3) as "waterLevel",
                        50 + i % 50 as "batteryLevel"
                    from range({per_day}) as t(i)
                ) to '{path}' (format json, compression gzip)"""
            )
            arrived = datetime(day.year, day.month, day.day, 18, tzinfo=UTC).timestamp()  # 02:00 of the next day in Shanghai
            os.utime(path, (arrived, arrived))
    return per_day * days


def register(folder: Path, devices: int, cadence_minutes: int) -> None:
    """Write the registration of the gauges."""
    path = folder / "waterlogging_point_1.ndjson"
    rows = [
        {
            "id": f"urn:ngsi-ld:Device:B-{number}", "name": f"点{number}", "deviceType": "water_level", "communityCode": "440304001019",
            "cadenceMinutes": cadence_minutes, "alarmLevel": 0.4, "dateInstalled": "2024-01-01", "dateModified": "2024-01-01T00:00:00Z",
        }
        for number in range(devices)
    ]  # fmt: skip
    import gzip

    with gzip.open(path.with_suffix(".ndjson.gz"), "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    os.utime(path.with_suffix(".ndjson.gz"), (1.7e9, 1.7e9))


def run(data: Path, export_folder: Path, *command: str) -> tuple[float, float]:
    """Run a command of the product on a data folder; returns its seconds of processor time and its peak memory in MB.

    Processor time, not the clock's: what else the machine does shows less in it.
    """
    environment = {
        **os.environ, **dbt_environment(data), "SSC_DATA": str(data), "SSC_WATERLOGGING_URL": str(export_folder), "PYTHONPATH": str(root()),
    }  # fmt: skip
    environment.pop("SSC_CLOCK", None)
    with subprocess.Popen(command, env=environment, cwd=root(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(output.decode()[-3000:])
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def pull(data: Path, folder: Path, until: datetime) -> tuple[float, float]:
    """Pull the system's entities up to a time."""
    code = (
        "from datetime import datetime; from sources.catalogue import load_catalogue; from sources.connectors import pull\n"
        f"until = datetime.fromisoformat('{until.isoformat()}')\n"
        "for entity in load_catalogue()['waterlogging'].entities: pull(entity, until=until)"
    )
    return run(data, folder, sys.executable, "-c", code)


def build(data: Path, folder: Path, *select: str) -> tuple[float, float]:
    """Prepare and build; all models without a selection."""
    prepare = run(data, folder, sys.executable, "-c", "from orchestration.build import prepare; prepare()")
    project = str(root() / "dbt_project")
    command = [
        str(Path(sys.executable).with_name("dbt")),
        "--quiet",
        "build",
        "--project-dir",
        project,
        "--target-path",
        str(data / "target"),
    ]
    command += ["--log-path", str(data / "logs"), "--exclude-resource-type", "unit_test"]
    if select:
        command += ["--exclude-resource-type", "test"]
    built = run(data, folder, *command, *(["--select", *select] if select else []))
    shutil.copyfile(data / "target" / "run_results.json", data / "build" / "run_results.json")  # as the warehouse job leaves it
    return prepare[0] + built[0], max(prepare[1], built[1])


def throughput(work: Path, readings: int) -> dict[str, Any]:
    """Files to hourly mart, against DuckDB's typed load of the same files into a database file."""
    devices, cadence = 290, 60
    days = max(1, round(readings / (devices * 1440)))
    folder, data = work / "export", work / "data"
    say(f"throughput: writing {days} files")
    rows = export(folder, FIRST, days, devices, cadence)
    register(folder, devices, 1)
    columns = (
        "id: 'varchar', type: 'varchar', refDevice: 'varchar', dateObserved: 'timestamptz', waterLevel: 'double', batteryLevel: 'double'"
    )
    say("throughput: typed load")
    load = f"create table t as select * from read_json('{folder}/water_level_*.gz', format='newline_delimited', columns={{{columns}}})"
    seconds, _ = run(data, folder, sys.executable, "-c", f"import duckdb; duckdb.connect({str(work / 'typed.duckdb')!r}).execute({load!r})")
    say("throughput: pull")
    until = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=days + 1)
    pulled = pull(data, folder, until)
    say("throughput: build")
    built = build(data, folder, *CHAIN)
    with duckdb.connect(str(data / "build" / "marts.duckdb"), read_only=True) as connection:
        [(landed,)] = connection.execute("select cast(sum(reading_count) as bigint) from mart.fct_sensor_hour").fetchall()
    if landed != rows:
        raise SystemExit(f"the mart counts {landed} readings of {rows}")
    ours = pulled[0] + built[0]
    return {
        "readings": rows,
        "typed_load_rows_per_s": round(rows / seconds),
        "files_to_hourly_mart_rows_per_s": round(rows / ours),
        "ratio_to_typed_load": round(seconds / ours, 3),
        "ratio_wanted": 0.35,
        "pull_s": round(pulled[0], 1),
        "build_s": round(built[0], 1),
        "typed_load_s": round(seconds, 1),
        "peak_memory_mb": round(max(pulled[1], built[1])),
        "peak_memory_wanted_mb": MEMORY_LIMIT_MB,
    }


def increment(work: Path) -> dict[str, Any]:
    """One more day of 250 gauges at five minutes, with 1 and with 12 months behind it, in turn; and the release of the larger."""
    devices, cadence, ends = 250, 300, {1: 30, 12: 360}
    seconds: dict[int, list[float]] = {months: [] for months in ends}
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    for days_more in range(4):
        for months, days in ends.items():
            folder, data = work / f"export-{months}", work / f"data-{months}"
            if days_more == 0:
                say(f"increment: {months} month(s)")
                export(folder, FIRST, days, devices, cadence)
                register(folder, devices, 5)
            else:
                export(folder, FIRST + timedelta(days=days + days_more - 1), 1, devices, cadence)
            pulled = pull(data, folder, start + timedelta(days=days + days_more))
            built = build(data, folder)
            if days_more:
                seconds[months].append(pulled[0] + built[0])
    out: dict[str, Any] = {f"day_with_{months}_months_s": round(min(of), 2) for months, of in seconds.items()}
    say(f"increment: {seconds}")
    out["ratio_12_to_1"] = round(out["day_with_12_months_s"] / out["day_with_1_months_s"], 3)
    out["ratio_wanted_at_most"] = 1.2
    say("increment: release")
    data = work / "data-12"
    code = (
        "import time; from pathlib import Path; from orchestration import release\n"
        "class Passed:\n    refused = False; findings = (); paragraph = staticmethod(lambda: '')\n"
        "started = time.monotonic()\n"
        f"release.make_candidate(Path({str(data)!r}), judge=lambda candidate, folder: Passed(), progress=lambda line: None)\n"
    )
    out["release_without_gate_s"] = round(run(data, work, sys.executable, "-c", code)[0], 2)
    with duckdb.connect(str(data / "build" / "marts.duckdb"), read_only=True) as connection:
        out["released_sensor_hours"] = connection.execute("select count(*) from mart.fct_sensor_hour").fetchall()[0][0]
    return out


DISPATCHES = f"""
    create table dispatch as select
        'PD' || lpad(i::text, 10, '0') as jjd_bh, 'A' || lpad((i % 40)::text, 2, '0') as ajlx_dm,
        '4403040010' || lpad((i % 99)::text, 2, '0') as sq_dm, '某某路' || i % 1000 || '号' as sfdd, '张' || i % 5000 as bjr_xm,
        '138' || lpad(i::text, 8, '0') as bjr_dh, '报警人称楼下有人争吵，请求处置 ' || i as jq_nr,
        timestamp '2025-01-01' + i * interval '13 seconds' as jj_sj, timestamp '2025-01-01' + i * interval '14 seconds' as pj_sj,
        timestamp '2025-01-01' + i * interval '15 seconds' as dd_sj, null::timestamp as jj_wb_sj,
        (array['received', 'dispatched', 'arrived', 'closed'])[1 + i % 4] as zt, '110' as ly, null::text as gl_bh, i::bigint as bgxh
    from generate_series(1, {PULLED_ROWS}) as i"""
FILINGS = f"""
    select '9144' || lpad(i::varchar, 14, '0') as "统一社会信用代码", '2026-05' as "所属期", '深圳某某有限公司' || i as "企业名称",
        '440304001019' as "社区代码", 'F' as "行业代码", date '2026-06-01' + cast(i % 15 as int) as "申报日期",
        i * 7 % 1000003 / 100.0 as "申报收入(元)", i % 10007 / 100.0 as "应纳税额(元)", i % 10007 / 100.0 as "实缴税额(元)",
        i % 500 as "用工人数", '按期申报' as "申报状态"
    from range({PULLED_ROWS}) as t(i)"""


def pulling(work: Path) -> dict[str, Any]:
    """A million rows through a connector against DuckDB's own reading of the same to Parquet, every column as text; and a run without news.

    Both write zstd, and hash the callers' phones of the dispatches; ``without_hashing`` is DuckDB as it reads them in clear. Only ours
    counts, finds gaps, syncs and writes a manifest. The best of some rounds, one beside the other; a ratio above 1 is faster than DuckDB.
    """
    out: dict[str, Any] = {"rows": PULLED_ROWS, "ratio_wanted": 0.5}
    say("pulling: csv")
    folder = work / "csv"
    folder.mkdir(parents=True)
    path = folder / "纳税申报_202605.csv"
    with duckdb.connect() as engine:
        engine.execute(f"copy ({FILINGS}) to '{path}' (header)")
    os.utime(path, (1.7e9, 1.7e9))
    ours = (
        "of = load_catalogue()['tax_filing'].entity('filing')\n"
        "entity = replace(of, server=replace(of.server, encoding='UTF-8'), deliveries=())"
    )
    theirs = f"copy (select * from read_csv('{path}', header=true, all_varchar=true))"
    out["csv"] = _compared(work / "of_csv", ours, "", {"duckdb": theirs}, {"SSC_TAX_FILING_URL": str(folder)})
    if reason := reason_to_skip():
        out["postgresql"] = {"skipped": reason}
    else:
        with postgres() as server:
            out["postgresql"] = _of_postgres(work, server)
    say("pulling: a run without news")
    out["without_news"] = _without_news(work)
    return out


def _of_postgres(work: Path, server: Postgres) -> dict[str, Any]:
    import duckdb_extension_postgres_scanner
    import psycopg

    say("pulling: postgresql")
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute(DISPATCHES)
        connection.execute("vacuum analyze dispatch")
    [extension] = Path(duckdb_extension_postgres_scanner.__file__).parent.rglob("*.duckdb_extension")
    attach = f"load '{extension}'; attach '{server.conninfo}' as pg (type postgres, read_only)"
    settings = {"SSC_POLICE_DISPATCH_URL": server.url, "SSC_POLICE_DISPATCH_PASSWORD": server.password}
    ours = "entity = load_catalogue()['police_dispatch'].entity('dispatch')"
    entity = load_catalogue()["police_dispatch"].entity("dispatch")
    hashed = {name: keyed_hash_sql(f"cast({name} as varchar)", b"k" * 32) for name in sorted(entity.identifiers)}
    same = ", ".join([f"cast(columns(* exclude ({', '.join(hashed)})) as varchar)", *(f"{sql} as {name}" for name, sql in hashed.items())])
    theirs = {
        "duckdb": f"copy (select {same} from pg.dispatch)",
        "without_hashing": "copy (select cast(columns(*) as varchar) from pg.dispatch)",
    }
    return _compared(work / "of_postgres", ours, attach, theirs, settings)


def _compared(work: Path, ours: str, prepare: str, theirs: dict[str, str], settings: dict[str, str]) -> dict[str, Any]:
    """Seconds by the clock and of the processor for a pull of ``entity`` and for DuckDB's statements, each in a process of its own.

    The ratios are to the statement ``duckdb``.
    """
    clock = "wall, used = time.monotonic(), time.process_time()\n"
    told = "\nprint(json.dumps([rows, time.monotonic() - wall, time.process_time() - used]))"
    pulled = (
        "import json, time; from dataclasses import replace; from datetime import UTC, datetime\n"
        f"from sources.catalogue import load_catalogue; from sources.connectors import pull\n{ours}\n{clock}"
        f"rows = pull(entity, until=datetime(2026, 6, 30, tzinfo=UTC)).rows{told}"
    )
    best: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        data = work / f"data-{number}"
        data.mkdir(parents=True)
        codes = {"ours": pulled}
        for name, copied in theirs.items():
            statement = f"{copied} to '{data}/{name}.parquet' (format parquet, compression zstd)"
            codes[name] = (
                "import duckdb, json, time\nengine = duckdb.connect()\nengine.execute('set enable_progress_bar = false')\n"
                f"engine.execute({prepare!r}) if {prepare!r} else None\n{clock}"
                f"[(rows,)] = engine.execute({statement!r}).fetchall(){told}"
            )
        for name, code in codes.items():
            environment = {**os.environ, **settings, "SSC_DATA": str(data), "PYTHONPATH": str(root())}
            environment.pop("SSC_CLOCK", None)
            done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root(), capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            rows, wall, used = json.loads(done.stdout.splitlines()[-1])
            if rows != PULLED_ROWS:
                raise SystemExit(f"{name} read {rows} rows of {PULLED_ROWS}")
            best[name] = [min(a, b) for a, b in zip(best.get(name, [wall, used]), [wall, used], strict=True)]
        shutil.rmtree(data)
    return {
        "ratio_wall": round(best["duckdb"][0] / best["ours"][0], 2),
        "ratio_processor": round(best["duckdb"][1] / best["ours"][1], 2),
        **{f"{name}_{what}_s": round(seconds, 2) for name in best for what, seconds in zip(("wall", "processor"), best[name], strict=True)},
    }


def _without_news(work: Path) -> dict[str, Any]:
    """``pull`` of every system that a reference district at test scale serves, a minute after a pull that took everything."""
    with district(work / "district") as of:
        warehouse = Warehouse(work / "without_news", of)
        systems = [system for system in load_catalogue() if f"SSC_{system.upper()}_URL" in of.settings]
        seconds, used = [], []
        for minute in ("00", "01"):
            of.move(MOMENTS[0].replace("00:00+", f"00:{minute}+"))
            started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            warehouse.run("pull", *systems)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(round(time.monotonic() - started, 1))
            used.append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1))
    return {
        "systems": len(systems),
        "first_s": seconds[0],
        "second_s": seconds[1],
        "second_processor_s": used[1],
        "second_wanted_at_most_s": 30,
    }


def main() -> None:
    parts = (os.environ.get("BENCH_PARTS") or "throughput,increment,pulling,latency").split(",")
    readings = int(os.environ.get("BENCH_READINGS") or 50_000_000)
    within = os.environ.get("BENCH_DIR")
    if within:
        Path(within).mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=within))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    result: dict[str, Any] = {"cores": os.cpu_count(), "duckdb": duckdb.__version__}
    try:
        if "throughput" in parts:
            result["throughput"] = throughput(work / "throughput", readings)
        if "increment" in parts:
            result["increment"] = increment(work / "increment")
        if "pulling" in parts:
            result["pulling"] = pulling(work / "pulling")
        if "latency" in parts:
            result["latency"] = latency(work / "latency", say)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
