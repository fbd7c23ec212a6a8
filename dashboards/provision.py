"""Brings Superset to the state that the repository describes: ``.venv-superset/bin/python -m dashboards.provision``.

One process, any number of times: metadata schema, permissions, administrator, assets, pruning, roles, who opens what, row-level
security. A step whose input has not changed since the last run is left out; ``--force`` runs all. Objects that people made in
the browser (not managed from files) are never touched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from dashboards import bundle, cache, places, settings
from sources.errors import SscError

HERE = Path(__file__).resolve().parent
_START = time.monotonic()


def _say(text: str) -> None:
    print(f"{time.monotonic() - _START:6.1f} s  {text}", flush=True)


def _state_path() -> Path:
    return settings.superset_dir() / "provisioned.json"


def _read_state() -> dict[str, str]:
    try:
        return json.loads(_state_path().read_text())
    except (OSError, ValueError):
        return {}


def _write_state(state: dict[str, str]) -> None:
    draft = _state_path().with_suffix(".draft")
    draft.write_text(json.dumps(state, indent=1))
    draft.replace(_state_path())


def _digest(contents: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _schema_version() -> str | None:
    """The Alembic revision of the metadata; None if there is none yet."""
    path = settings.superset_dir() / "superset.db"
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("select version_num from alembic_version").fetchall()
        except sqlite3.OperationalError:
            return None
    return ",".join(sorted(row[0] for row in rows)) or None


def _migrate() -> None:
    from alembic.script import ScriptDirectory
    from flask_migrate import upgrade

    folder = str(files("superset") / "migrations")
    heads = ",".join(sorted(ScriptDirectory(folder).get_heads()))
    if _schema_version() == heads:
        _say("metadata schema is current")
        return
    _say("metadata schema: migrating (about 20 s the first time)")
    upgrade(directory=folder)
    os.chmod(settings.superset_dir() / "superset.db", 0o600)
    _say("metadata schema migrated")


def _initialise(state: dict[str, str], force: bool) -> None:
    from superset import security_manager
    from superset.extensions import appbuilder

    current = version("apache-superset")
    if state.get("initialised") == current and not force:
        return
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    state["initialised"] = current
    _say("permissions and built-in roles")


def _administrator() -> Any:
    from superset import security_manager

    user = security_manager.find_user("admin")
    if user is None:
        user = security_manager.add_user(
            "admin",
            "系统",
            "管理员",
            "admin@localhost",
            security_manager.find_role("Admin"),
            password=settings.secret("superset_admin_password"),
        )
        _say(f"administrator `admin`; password in {settings.data_dir() / 'secrets' / 'superset_admin_password'}")
    return user


def _models() -> dict[str, Any]:
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    return {"dashboards": Dashboard, "charts": Slice, "datasets": SqlaTable, "databases": Database}


def _present(assets: bundle.Assets) -> bool:
    """Whether every asset is in the metadata."""
    from superset import db

    for kind, model in _models().items():
        there = {str(key) for (key,) in db.session.query(model.uuid)}
        if not {asset["uuid"] for asset in assets[kind].values()} <= there:
            return False
    return True


def _import(assets: bundle.Assets, state: dict[str, str], force: bool) -> None:
    from superset import db
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    contents = bundle.contents(assets)
    digest = _digest({**contents, "superset": version("apache-superset")})
    if state.get("assets") == digest and not force and _present(assets):
        _say("assets unchanged")
        return
    ImportAssetsCommand(contents).run()
    for kind, model in _models().items():
        for row in db.session.query(model).filter(model.uuid.in_(_uuids(assets, kind))):
            if hasattr(row, "owners"):
                row.owners = []  # what is managed from files belongs to nobody
    db.session.commit()
    state["assets"] = digest
    cache.clear("meta")
    cache.clear("data")
    _say("assets: " + ", ".join(f"{len(assets[kind])} {kind}" for kind in bundle.KINDS))


def _uuids(assets: bundle.Assets, kind: str) -> list[Any]:
    from uuid import UUID

    return [UUID(asset["uuid"]) for asset in assets[kind].values()]


def _prune(assets: bundle.Assets) -> None:
    """Delete what is managed from files and no longer stands in one; keep a dataset or database that others still use."""
    from superset import db
    from superset.models.slice import Slice

    for kind, model in _models().items():
        gone = db.session.query(model).filter(model.is_managed_externally, model.uuid.notin_(_uuids(assets, kind))).all()
        for row in gone:
            if kind == "datasets" and db.session.query(Slice).filter_by(datasource_id=row.id, datasource_type="table").count():
                _say(f"kept dataset {row}: a chart still uses it")
                continue
            if kind == "databases" and row.tables:
                _say(f"kept database {row}: a dataset still uses it")
                continue
            if kind == "charts":
                row.dashboards = []
            if kind == "dashboards":
                row.slices = []
            _say(f"deleted {kind[:-1]} {row}")
            db.session.delete(row)
        db.session.flush()
    db.session.commit()


def _permissions(wanted: dict[str, Any], assets: bundle.Assets, where: str) -> list[Any]:
    """Superset's permissions for one entry of ``security.yml``."""
    from superset import db, security_manager

    databases = _models()["databases"]
    permissions = [p for like in wanted.get("like", []) for p in security_manager.find_role(like).permissions]
    for permission, view in wanted.get("permissions", []):
        found = security_manager.find_permission_view_menu(permission, view)
        if found is None:
            raise SscError(
                f"Superset has no permission {permission} on {view}",
                where=f"dashboards/security.yml {where}",
                next_step="compare with the list of permissions under Settings, List Roles",
            )
        permissions.append(found)
    for key in wanted.get("databases", []):
        row = db.session.query(databases).filter_by(uuid=assets["databases"][key]["uuid"]).one()
        permissions.append(security_manager.add_permission_view_menu("database_access", row.perm))
    return list({permission.id: permission for permission in permissions}.values())


def _roles(spec: dict[str, Any], assets: bundle.Assets) -> None:
    """Give every role of ``security.yml`` exactly the permissions that it lists."""
    from superset import db, security_manager

    for name, wanted in spec["roles"].items():
        role = security_manager.find_role(name) or security_manager.add_role(name)
        role.permissions = _permissions(wanted, assets, f"roles.{name}")
    db.session.commit()


def _place_roles(spec: dict[str, Any], assets: bundle.Assets) -> dict[str, Any]:
    """Make the roles of the places, follow their names, and delete those of places that are no more.

    Returns:
        The roles by the key of their place.
    """
    from flask_appbuilder.security.sqla.models import Role
    from superset import db

    permissions = _permissions(spec["places"], assets, "places")
    there = {key: role for role in db.session.query(Role) if (key := places.key_of(role.name))}
    wanted: dict[str, Any] = {}
    for place in places.read():
        role = there.pop(place.key, None) or Role()
        role.name, role.permissions = place.role, permissions
        db.session.add(role)
        wanted[place.key] = role
    for role in there.values():
        holders = ", ".join(user.username for user in role.user) or "nobody"
        _say(f"deleted role {role.name}, whose place is no more; held by {holders}")
        role.user, role.permissions = [], []
        db.session.delete(role)
    db.session.commit()
    return wanted


def _find_roles(names: Iterable[str], where: str) -> list[Any]:
    from superset import security_manager

    roles = {name: security_manager.find_role(name) for name in names}
    if missing := [name for name, role in roles.items() if role is None]:
        raise SscError(f"no such role: {', '.join(missing)}", where=where, next_step="name a role of `roles`")
    return list(roles.values())


def _dashboard_roles(spec: dict[str, Any], assets: bundle.Assets, of_places: dict[str, Any]) -> None:
    from superset import db

    model = _models()["dashboards"]
    slugs = {asset["slug"] for asset in assets["dashboards"].values()}
    if unknown := set(spec["dashboards"]) - slugs:
        raise SscError(
            f"no such dashboard: {', '.join(sorted(unknown))}",
            where="dashboards/security.yml dashboards",
            next_step="name the slug of a file in assets/dashboards",
        )
    for slug in slugs:
        row = db.session.query(model).filter_by(slug=slug).one()
        # With no role at all a dashboard would be open to whoever may read one of its datasets.
        names = spec["dashboards"].get(slug, ["Admin"])
        named = _find_roles((name for name in names if name != "places"), f"dashboards/security.yml dashboards.{slug}")
        row.roles = [*named, *(of_places.values() if "places" in names else [])]
        row.published = True
    db.session.commit()


def held_datasets(spec: dict[str, Any], assets: bundle.Assets) -> list[str]:
    """The datasets that are held to a place: all of the database that have the column, English twins included."""
    held, database = spec["places"]["column"], assets["databases"][spec["places"]["database"]]["uuid"]
    return [
        name
        for name, dataset in assets["datasets"].items()
        if dataset["database_uuid"] == database and held in {column["column_name"] for column in dataset["columns"]}
    ]


def _place_rules(spec: dict[str, Any], assets: bundle.Assets, of_places: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """No row for anyone, but for those who see all and for each place's own rows."""
    datasets = held_datasets(spec, assets)
    by_place = [role.name for role in of_places.values()]
    yield {
        "name": "places: nobody else",
        "filter_type": "Base",
        "clause": "1 = 0",
        "roles": [*spec["places"]["see_all"], *by_place],
        "datasets": datasets,
    }
    for place in places.read():
        clause = place.clause(spec["places"]["column"])
        # One group: the holder of two places sees both.
        yield {"name": place.key, "clause": clause, "roles": [place.role], "datasets": datasets, "group_key": "place"}


def _row_level_security(spec: dict[str, Any], assets: bundle.Assets, of_places: dict[str, Any]) -> None:
    from superset import db
    from superset.connectors.sqla.models import RowLevelSecurityFilter

    datasets = _models()["datasets"]
    wanted = {rule["name"]: rule for rule in (*spec["row_level_security"], *_place_rules(spec, assets, of_places))}
    there = {row.name: row for row in db.session.query(RowLevelSecurityFilter)}
    for name in set(there) - set(wanted):
        _say(f"deleted row-level rule {name}")
        db.session.delete(there.pop(name))
    tables = {str(row.uuid): row for row in db.session.query(datasets)}
    for name, rule in wanted.items():
        row = there.get(name) or RowLevelSecurityFilter(name=name)
        row.filter_type = rule.get("filter_type", "Regular")
        row.clause, row.group_key = rule["clause"], rule.get("group_key")
        row.roles = _find_roles(rule["roles"], f"dashboards/security.yml row_level_security {name}")
        row.tables = [tables[assets["datasets"][dataset]["uuid"]] for dataset in rule["datasets"]]
        db.session.add(row)
    db.session.commit()


def provision(force: bool = False) -> None:
    """Do all of it.

    Raises:
        SscError: a file under ``dashboards/`` contradicts itself or Superset.
    """
    assets = bundle.everything()
    spec = yaml.safe_load((HERE / "security.yml").read_text())
    state = _read_state()
    os.environ["SUPERSET_CONFIG_PATH"] = str(HERE / "superset_config.py")
    _say("starting Superset")
    from superset.app import create_app

    app = create_app()
    with app.app_context():
        from flask import g

        _migrate()
        _initialise(state, force)
        g.user = _administrator()
        _import(assets, state, force)
        _prune(assets)
        _roles(spec, assets)
        of_places = _place_roles(spec, assets)
        _dashboard_roles(spec, assets, of_places)
        _row_level_security(spec, assets, of_places)
        _say("roles, dashboards' roles, row-level security")
    _write_state(state)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="repeat every step, changed or not")
    try:
        provision(parser.parse_args().force)
    except SscError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
