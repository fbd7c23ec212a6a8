"""A real Spark cluster on loopback, from the Python package pyspark: a master, two workers of one core each, and the Thrift server.

Every process leads a process group of its own, which ends with it (a worker's executors are in the worker's group).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
THRIFT = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"
HOST = "127.0.0.1"
START_SECONDS = 180.0
# Few cores: one thread of garbage collection, and where little is computed only quick compilation, leave more of them for the work.
JVM = "-Duser.timezone=UTC -XX:+UseSerialGC"
QUICK = f"{JVM} -XX:TieredStopAtLevel=1"
LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
"""
CONFIGURATION = {
    "spark.driver.host": HOST,
    "spark.driver.bindAddress": HOST,
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.scheduler.mode": "FAIR",  # several models at once: none waits for the other's whole job
    # To compile a query, to plan it again after each of its stages, to prove and to describe its plan takes longer than to run it on
    # such small tables.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.constraintPropagation.enabled": "false",
    "spark.sql.lightweightPlanChangeValidation": "false",
    "spark.sql.ui.explainMode": "simple",
    "spark.sql.maxPlanStringLength": "1000",
    "spark.eventLog.enabled": "false",
}


class Cluster:
    """The running processes by name: ``master``, ``worker1``, ``worker2``, ``thrift``; logs lie in ``folder/<name>.log``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.master_port, self.port = _free_port(), _free_port()
        spec = importlib.util.find_spec("pyspark")
        assert spec and spec.origin, "pyspark is missing: these tests run in .venv-spark (`make test-spark`)"
        self.home = Path(spec.origin).parent

    @property
    def settings(self) -> dict[str, str]:
        """What an operator would set to build on this cluster."""
        return {"SSC_SPARK_HOST": HOST, "SSC_SPARK_PORT": str(self.port)}

    def start(self) -> None:
        """Start everything; :meth:`wait` for it before use."""
        for name in ("conf", "local", "work", "warehouse"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "conf" / "log4j2.properties").write_text(LOGGING)
        self._launch("master", "256m", "bin/spark-class", MASTER, "--host", HOST, "--port", str(self.master_port), "--webui-port", "0")
        for name in ("worker1", "worker2"):
            arguments = ["--host", HOST, "--cores", "1", "--memory", "1g", "--webui-port", "0", "-d", str(self.folder / "work")]
            self._launch(name, "256m", "bin/spark-class", WORKER, *arguments, f"spark://{HOST}:{self.master_port}")
        self.start_thrift()

    def start_thrift(self) -> None:
        """The Thrift server, which is the driver of everything that is run through it; killed, it may be started again."""
        conf = {
            **CONFIGURATION,
            "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
            "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={self.folder}/metastore;create=true",
            "spark.driver.extraJavaOptions": f"{JVM} -Dderby.system.home={self.folder}",
            "spark.executor.extraJavaOptions": QUICK,
        }
        options = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
        memory = ["--driver-memory", "1g", "--executor-memory", "1g", "--executor-cores", "1"]
        listen = ["--hiveconf", f"hive.server2.thrift.bind.host={HOST}", "--hiveconf", f"hive.server2.thrift.port={self.port}"]
        master = ["--master", f"spark://{HOST}:{self.master_port}"]
        self._launch("thrift", "1g", "bin/spark-submit", "--class", THRIFT, *master, *memory, *options, "spark-internal", *listen)

    def wait(self) -> None:
        """Until the Thrift server answers; fails with its log where it ended."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            assert time.monotonic() < deadline, f"the Thrift server did not answer:\n{self.log('thrift')}"
            time.sleep(0.5)

    def kill(self, name: str) -> None:
        """``kill -9`` the process and all that it started, as a machine goes down."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in ("thrift", "worker1", "worker2", "master"):
            if name in self.processes:
                self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def _launch(self, name: str, heap: str, script: str, *arguments: str) -> None:
        # HiveThriftServer2 takes its heap from SPARK_DAEMON_MEMORY too, whatever --driver-memory says
        own = {
            "SPARK_HOME": str(self.home),
            "SPARK_CONF_DIR": str(self.folder / "conf"),
            "SPARK_LOCAL_IP": HOST,
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_DAEMON_MEMORY": heap,
            "SPARK_DAEMON_JAVA_OPTS": JVM if name == "thrift" else QUICK,
            "SPARK_NO_DAEMONIZE": "1",
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SPARK_", "PYSPARK_", "SSC_"))}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(self.home / script), *arguments],
                cwd=self.folder,
                env={**inherited, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster below ``folder`` without waiting for it, and end all of it with the block."""
    running = Cluster(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
