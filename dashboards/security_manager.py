"""Superset's security manager, with three things it lacks: whoever may not build charts is held to the saved charts of the
dashboards that are open to them, the login limit sits on the views that log in, and cached figures are kept per release.

Held are visitors without an account and the people of the district, its subdistricts and communities. For the latter it spares
row-level security a doubt: the rule of a place is one condition beside those that a person may send, SQL promises no order among
conditions, and DuckDB's errors quote values (in 1.5.5 the rule was always seen to come first). The rules are in ``public_access``; only
what needs Superset's objects is here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import g, has_request_context
from flask_babel import gettext as _
from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
from superset.exceptions import SupersetSecurityException
from superset.security import SupersetSecurityManager
from superset.utils import json

from dashboards import places, public_access, release_link

logger = logging.getLogger(__name__)

_QUERY_FIELDS = (
    "annotation_layers",
    "applied_time_extras",
    "apply_fetch_values_predicate",
    "columns",
    "extras",
    "filter",
    "from_dttm",
    "granularity",
    "group_others_when_limit_reached",
    "inner_from_dttm",
    "inner_to_dttm",
    "is_rowcount",
    "metrics",
    "orderby",
    "post_processing",
    "row_offset",
    "series_columns",
    "series_limit",
    "series_limit_metric",
    "time_offsets",
    "time_range",
    "time_shift",
    "to_dttm",
)


def is_visitor() -> bool:
    """Whether the request at hand comes from somebody without an account."""
    user = getattr(g, "user", None) if has_request_context() else None
    return has_request_context() and (user is None or bool(user.is_anonymous))


def _text(value: Any) -> str:
    """The value of an enumeration, or the text itself."""
    return str(getattr(value, "value", value))


def _integer(value: Any) -> int:
    """A key of the metadata from what a browser sent; 0, which no row has, for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else int(value) if str(value).isdigit() else 0


def _without_sql(get_payload: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A query context's ``get_df_payload`` that hands no SQL text, stack trace or engine message on."""

    def guarded(*args: Any, **kwargs: Any) -> dict[str, Any]:
        payload = get_payload(*args, **kwargs)
        if payload.get("error"):
            logger.error("a chart failed: %s", payload["error"])
            payload["error"] = "这张图暂时无法计算，请稍后再试。 This chart cannot be computed at the moment."
        payload["query"] = ""
        payload["stacktrace"] = None
        return payload

    return guarded


class WarehouseSecurityManager(SupersetSecurityManager):
    """See the module's docstring."""

    def register_views(self) -> None:
        """Attach the login limit to what really serves ``POST /login/`` and ``POST /api/v1/security/login``."""
        super().register_views()
        if not self.is_auth_limited:
            return
        for view in self.appbuilder.baseviews:
            served = type(view).__name__ in {"AuthDBView", "AuthLDAPView", "SecurityApi"}
            if served and getattr(view, "blueprint", None) is not None:
                self.limiter.limit(self.auth_rate_limit, methods=["POST"])(view.blueprint)

    def get_rls_cache_key(self, datasource: Any) -> list[str]:
        """The part of a figure's cache key that says who sees it, and here also which release it is from."""
        key = super().get_rls_cache_key(datasource)
        database = getattr(datasource, "database", None)
        relative = release_link.relative_of(database.sqlalchemy_uri) if database is not None else None
        return [*key, f"release:{release_link.release_of(relative)}"] if relative else key

    def raise_for_access(self, *args: Any, **kwargs: Any) -> None:
        """Superset's own checks, after those for people who are held to saved charts."""
        query_context = kwargs.get("query_context")
        if self.is_held():
            if query_context is not None:
                self._hold_to_saved_chart(query_context)
            elif any(kwargs.get(name) is not None for name in ("viz", "query", "sql", "table", "database")):
                self._refuse(["anything but a saved chart"])
        super().raise_for_access(*args, **kwargs)

    def is_held(self) -> bool:
        """Whether the request at hand may ask for saved charts alone: of a visitor, or of a person who may not build charts."""
        return has_request_context() and (is_visitor() or not self.can_access("can_explore", "Superset"))

    def _hold_to_saved_chart(self, query_context: Any) -> None:
        from superset.models.dashboard import Dashboard
        from superset.models.slice import Slice

        form_data = query_context.form_data or {}
        dashboard = self.session.get(Dashboard, _integer(form_data.get("dashboardId")))
        roles = self.get_user_roles()
        if dashboard is None or not dashboard.published or not {role.id for role in roles} & {role.id for role in dashboard.roles}:
            self._refuse(["a dashboard that is not open to them"])
        if any(places.key_of(role.name) for role in roles) and not query_context.datasource.is_managed_externally:
            self._refuse(["a dataset that somebody made in the browser: no row-level security by place covers it"])
        chart = self.session.get(Slice, _integer(form_data.get("slice_id")))
        if chart is not None and (chart not in dashboard.slices or chart.datasource_id != query_context.datasource.id):
            chart = None
        refused = public_access.refusals(
            form_data=form_data,
            result_type=_text(query_context.result_type),
            result_format=_text(query_context.result_format),
            queries=[
                {
                    **{name: getattr(query, name, None) for name in _QUERY_FIELDS},
                    "result_type": _text(query.result_type) if query.result_type else None,
                    "datasource_id": query.datasource.id if query.datasource is not None else None,
                }
                for query in query_context.queries
            ],
            dataset_id=query_context.datasource.id,
            chart_params=chart.params_dict if chart is not None else None,
            dashboard_metadata=json.loads(dashboard.json_metadata or "{}"),
        )
        if refused:
            self._refuse(refused)
        query_context.force = False
        query_context.custom_cache_timeout = None
        query_context.get_df_payload = _without_sql(query_context.get_df_payload)
        for query in query_context.queries:
            query.row_limit = public_access.capped(query.row_limit)

    @staticmethod
    def _refuse(reasons: list[str]) -> None:
        logger.info("refused to %s: %s", "a visitor" if is_visitor() else g.user.username, "; ".join(reasons))
        raise SupersetSecurityException(
            SupersetError(
                error_type=SupersetErrorType.DASHBOARD_SECURITY_ACCESS_ERROR,
                message=_("只能查看看板上已有的图表。 Only the charts of the dashboard may be seen."),
                level=ErrorLevel.WARNING,
            )
        )
