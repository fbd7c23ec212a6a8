"""Provisioning and serving Superset: repeatable, pruning, with secrets of its own."""

from __future__ import annotations

import socket
import stat
import time
import uuid

import pytest

from dashboards import places
from tests.browser.superset_server import ROOT, Server, running

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Server:
    return running()


def _counts(server: Server) -> dict[str, int]:
    tables = ("dashboards", "slices", "tables", "dbs", "dashboard_slices", "ab_user", "ab_role", "row_level_security_filters")
    return {table: server.query(f"select count(*) from {table}")[0][0] for table in tables}


def test_secrets_are_generated_and_for_the_owner_alone(server: Server) -> None:
    folder = server.data / "secrets"
    names = {path.name for path in folder.iterdir()}
    assert {"superset_secret_key", "superset_admin_password"} <= names
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
        assert len(path.read_text().strip()) >= 32
    assert stat.S_IMODE((server.data / "superset" / "superset.db").stat().st_mode) == 0o600
    assert server.query("select username from ab_user where created_by_fk is null") == [("admin",)]  # others are made by people


def test_second_run_changes_nothing_and_is_quick(server: Server) -> None:
    before = _counts(server)
    started = time.monotonic()
    done = server.run("dashboards.provision")
    assert done.returncode == 0, done.stderr[-2000:]
    assert time.monotonic() - started < 60
    assert "assets unchanged" in done.stdout and "metadata schema is current" in done.stdout
    assert _counts(server) == before


def test_unknown_managed_objects_go_and_peoples_own_stay(server: Server) -> None:
    managed, own = uuid.uuid4().bytes, uuid.uuid4().bytes
    ((dataset,),) = server.query("select id from tables where table_name = 'public_headline'")
    for key, is_managed in ((managed, True), (own, False)):
        server.query(
            "insert into slices (created_on, changed_on, slice_name, viz_type, params, datasource_id, datasource_type, uuid,"
            " is_managed_externally)"
            " values (datetime() || '.000000', datetime() || '.000000', 'stray', 'table', '{}', ?, 'table', ?, ?)",
            dataset,
            key,
            is_managed,
        )
    server.query(
        "insert into dashboards (created_on, changed_on, dashboard_title, slug, uuid, published, is_managed_externally)"
        " values (datetime() || '.000000', datetime() || '.000000', 'old', 'old', ?, 1, 1)",
        uuid.uuid4().bytes,
    )
    done = server.run("dashboards.provision")
    assert done.returncode == 0, done.stderr[-2000:]
    assert server.query("select uuid from slices where slice_name = 'stray'") == [(own,)]
    assert server.query("select count(*) from dashboards where slug = 'old'") == [(0,)]
    server.query("delete from slices where slice_name = 'stray'")


def test_what_was_deleted_or_granted_by_hand_is_put_right(server: Server) -> None:
    server.query("delete from dashboard_slices where slice_id = (select id from slices where slice_name = '易涝点')")
    server.query("delete from slices where slice_name = '易涝点'")
    ((public,),) = server.query("select id from ab_role where name = 'Public'")
    sql_lab = "select pv.id from ab_permission_view pv join ab_permission p on p.id = pv.permission_id"
    ((grant,),) = server.query(f"{sql_lab} join ab_view_menu v on v.id = pv.view_menu_id where p.name = 'can_execute_sql_query'")
    server.query("insert into ab_permission_view_role (permission_view_id, role_id) values (?, ?)", grant, public)
    done = server.run("dashboards.provision")
    assert done.returncode == 0, done.stderr[-2000:]
    held = "select count(*) from ab_permission_view_role where permission_view_id = ? and role_id = ?"
    assert server.query(held, grant, public) == [(0,)]
    assert server.query("select count(*) from slices where slice_name = '易涝点'") == [(1,)]


def test_roles_of_places_follow_the_seeds(server: Server) -> None:
    """A place renamed keeps its role and whoever holds it, a place that is no more loses its role, a rule changed by hand is put right."""
    place = next(place for place in places.read() if place.key.startswith("community_"))
    ((role,),) = server.query("select id from ab_role where name = ?", place.role)
    server.query("update ab_role set name = ? where id = ?", f"{place.key} 旧名", role)
    server.query("insert into ab_role (name) values ('community_999999999999 已撤销')")
    server.query("update row_level_security_filters set clause = '1 = 1' where name in (?, 'places: nobody else')", place.key)
    server.query(
        "delete from rls_filter_tables where rls_filter_id = (select id from row_level_security_filters where name = ?)", place.key
    )
    done = server.run("dashboards.provision")
    assert done.returncode == 0, done.stderr[-2000:]
    assert server.query("select name from ab_role where id = ?", role) == [(place.role,)]
    assert server.query("select count(*) from ab_role where name like 'community_999999999999%'") == [(0,)]
    assert server.query("select clause from row_level_security_filters where name = ?", place.key) == [(place.clause("community_id"),)]
    assert server.query("select clause, filter_type from row_level_security_filters where name = 'places: nobody else'") == [
        ("1 = 0", "Base")
    ]
    held = "select count(*) from rls_filter_tables t join row_level_security_filters f on f.id = t.rls_filter_id where f.name = ?"
    with_place = server.query(
        "select count(distinct t.id) from tables t join table_columns c on c.table_id = t.id join dbs d on d.id = t.database_id"
        " where c.column_name = 'community_id' and d.sqlalchemy_uri like '%marts%' and t.is_managed_externally"
    )
    assert server.query(held, place.key) == server.query(held, "places: nobody else") == with_place
    assert server.query("select count(*) from row_level_security_filters") == [(len(list(places.read())) + 1,)]


def test_a_taken_port_is_one_sentence(server: Server) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = Server(server.data, port)
        done = taken.run("dashboards.serve", timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"Port {port} on 127.0.0.1 is taken: stop what listens there, or set SSC_SUPERSET_PORT to a free port."
    ]


def test_serving_before_provisioning_is_one_sentence(tmp_path: object) -> None:
    fresh = Server(tmp_path, running().port + 1)  # type: ignore[arg-type]
    done = fresh.run("dashboards.serve", timeout=60)
    assert done.returncode == 1 and "dashboards.provision" in done.stderr and "Traceback" not in done.stderr


def test_cache_is_emptied_but_its_folder_stays(server: Server) -> None:
    folder = server.data / "superset" / "cache" / "data"
    (folder / "x").write_text("x")
    done = server.run("dashboards.cache")
    assert done.returncode == 0
    assert folder.is_dir() and not list(folder.iterdir())
    assert ROOT.joinpath("dashboards", "cache.py").exists()
