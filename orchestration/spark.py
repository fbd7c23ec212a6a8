"""The same models on a Spark cluster: what its tables have taken, and dbt over what they have not. ``make warehouse-spark``.

The cluster is reached through its Thrift server (``SSC_SPARK_HOST``, ``SSC_SPARK_PORT``, ``SSC_SPARK_USER``, ``SSC_SPARK_AUTH``), and
all of it must read the data folder under the same path. How tables come to be there is written in ``dbt_project/macros/engine/``.
Gate, release and dashboards read DuckDB's build; this one is for whoever queries the cluster.

Runs in ``.venv-spark``, which has dbt-spark and PyHive beside the product's packages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration import resources
from orchestration.build import Build, State, build_lock, dbt_environment, prepare
from orchestration.resources import dbt_executable, manifest, project_dir
from sources.catalogue import load_catalogue
from sources.errors import BuildError, SscError
from sources.settings import data_dir

PROPERTY = re.compile(r"ssc\.(\w+)=([^,\]]*)")


# As in dbt_project/profiles.yml: what does not begin so is ignored by the Thrift server.
SESSION = {
    "set:hiveconf:spark.sql.session.timeZone": "UTC",
    "set:hiveconf:spark.sql.hive.metastorePartitionPruningFallbackOnException": "true",
    "set:hiveconf:spark.sql.hive.metastorePartitionPruningFastFallback": "true",
}


def target_path() -> Path:
    """dbt's target folder for Spark, beside DuckDB's and never the same."""
    duckdb = resources.target_path()
    return duckdb.with_name(f"{duckdb.name}-spark")


class Connection:
    """A session on the Thrift server of the cluster that the settings name: those of the environment, if no others are given."""

    def __init__(self, settings: Mapping[str, str] = os.environ) -> None:
        from pyhive import hive
        from thrift.transport.TTransport import TTransportException

        host, port = settings.get("SSC_SPARK_HOST", "127.0.0.1"), settings.get("SSC_SPARK_PORT", "10000")
        self.where = f"{host}:{port}"
        try:
            self.connection = hive.connect(
                host=host,
                port=int(port),
                username=settings.get("SSC_SPARK_USER", "ssc"),
                auth=settings.get("SSC_SPARK_AUTH", "NONE"),
                configuration=SESSION,
            )
        except (OSError, TTransportException) as error:
            raise BuildError(
                f"Spark's Thrift server does not answer ({error})",
                where=self.where,
                next_step="start it, or name another by SSC_SPARK_HOST and SSC_SPARK_PORT",
            ) from error

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, none where it has none."""
        from pyhive.exc import Error

        cursor = self.connection.cursor()
        try:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
        except Error as error:
            status = getattr(error.args[0], "status", None) if error.args else None
            words = (getattr(status, "errorMessage", None) or str(error)).splitlines()[0]
            raise BuildError(
                f"Spark refused a statement ({words})", where=f"{self.where}: {sql[:200]}", next_step="read Spark's log"
            ) from error
        finally:
            cursor.close()

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def state(spark: Connection, schemas: Iterable[str]) -> State:
    """What the cluster's tables hold: the properties that dbt wrote on those in ``schemas``, and the entities' ledgers."""
    found = State({}, 0, {}, False)
    present = {name for (name,) in spark.rows("show schemas")}
    for schema in sorted(set(schemas) & present):
        for _, table, _, information in spark.rows(f"show table extended in {schema} like '*'"):
            properties = dict(PROPERTY.findall(information))
            if "build_id" in properties:
                found.fingerprints[table] = properties.get("fingerprint", "")
                found.last_build = max(found.last_build, int(properties["build_id"]))
    if "internal" in present:
        described = " ".join(str(value) for _, value in spark.rows("describe schema extended internal"))
        whole = dict(re.findall(r"\(ssc\.(\w+),([^)]*)\)", described))
        found.whole = (int(whole.get("build_id", 0)), whole.get("fingerprint", ""))
    if "ledger" in present:
        tables = {row[1] for row in spark.rows("show tables in ledger")}
        keys = [entity.key for system in load_catalogue().values() for entity in system.entities]
        ledgers = [f"select '{key}', load_id, is_demo from ledger.{key}__loads" for key in keys if f"{key}__loads" in tables]
        for key, load_id, is_demo in spark.rows(" union all ".join(ledgers)) if ledgers else []:
            found.taken.setdefault(key, set()).add(load_id)
            found.is_demo = found.is_demo or bool(is_demo)
    return found


def prepare_build(folder: Path) -> tuple[Build, dict[str, str]]:
    """Compare landing with the cluster's ledgers; the build, and the environment that dbt needs for it. Under the lock."""
    nodes = manifest()["nodes"].values()
    schemas = {node["schema"] for node in nodes if node["resource_type"] == "model" and node["config"]["materialized"] == "incremental"}
    with Connection() as spark:
        found = state(spark, schemas)
    work = folder / "work" / "spark"
    plan = prepare(folder, state=found, work=work)
    return plan, {**dbt_environment(folder), "SSC_SPARK_BUILD": (work / "build.json").read_text(encoding="utf-8")}


def dbt_command(*arguments: str) -> list[str]:
    """dbt on the Spark target, with target folder and log of its own."""
    command = [dbt_executable(), "--no-use-colors", *arguments, "--target", "spark", "--project-dir", str(project_dir())]
    return [*command, "--target-path", str(target_path()), "--log-path", str(target_path() / "logs")]


def warehouse(folder: Path | None = None, arguments: Sequence[str] = ()) -> Build:
    """Bring the cluster's tables up to what has landed; ``arguments`` are added to ``dbt build``. Killed, it is simply run again.

    Raises:
        BuildError: the cluster does not answer, nothing has landed, or a model or test failed.
    """
    folder = folder or data_dir()
    with build_lock(folder, ".spark.lock"):
        plan, environment = prepare_build(folder)
        if not plan.is_needed:
            print(f"spark: nothing new since build {plan.build_id - 1}", flush=True)
            return plan
        print(f"spark: build {plan.build_id}: {plan.new_loads} new loads with {plan.new_rows:,} rows, up to {plan.as_of}", flush=True)
        command = dbt_command(*plan.dbt_arguments, *arguments)
        done = subprocess.run(command, cwd=project_dir(), env={**os.environ, **environment}, check=False)
    if done.returncode:
        raise BuildError(
            "dbt could not build everything on Spark",
            where=f"build {plan.build_id}",
            next_step=f"read the lines above or {target_path()}/logs/dbt.log, then run `make warehouse-spark` again",
        )
    return plan


if __name__ == "__main__":
    try:
        warehouse(arguments=sys.argv[1:])
    except SscError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
