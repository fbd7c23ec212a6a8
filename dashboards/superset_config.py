"""Superset's configuration. Read by Superset itself (``SUPERSET_CONFIG_PATH``); standard library, Superset and this folder only.

Settings come from the environment: ``SSC_DATA``, ``SSC_SUPERSET_HOST``, ``SSC_SUPERSET_PORT``, ``SSC_SUPERSET_HTTPS=1`` (behind a
proxy that speaks https: Secure cookies, the proxy's headers are believed), ``SSC_SUPERSET_LOGIN_LIMIT``. Secrets are made at the
first start and lie in ``data/secrets/``. No figures, no people, no dashboards here: those are in ``assets/`` and ``security.yml``.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from superset.utils.log import AbstractEventLogger

from dashboards import cache, login_limit, release_link, settings  # noqa: F401 - login_limit registers itself
from dashboards.security_manager import WarehouseSecurityManager

_HTTPS = os.environ.get("SSC_SUPERSET_HTTPS") == "1"

# Identity ------------------------------------------------------------------------------------------------------------------
SECRET_KEY = settings.secret("superset_secret_key")
GUEST_TOKEN_JWT_SECRET = settings.secret("superset_guest_token_key")
GLOBAL_ASYNC_QUERIES_JWT_SECRET = settings.secret("superset_async_key")
SQLALCHEMY_DATABASE_URI = f"sqlite:///{settings.superset_dir()}/superset.db?check_same_thread=false&timeout=30"
SQLALCHEMY_ENGINE_OPTIONS = {"connect_args": {"check_same_thread": False, "timeout": 30}}

# Who may see ---------------------------------------------------------------------------------------------------------------
CUSTOM_SECURITY_MANAGER = WarehouseSecurityManager
AUTH_ROLE_PUBLIC = "Public"
PUBLIC_ROLE_LIKE = None  # its permissions are listed one by one in security.yml
AUTH_USER_REGISTRATION = False
FAB_API_SWAGGER_UI = False
PREVENT_UNSAFE_DB_CONNECTIONS = True
ALLOW_ADHOC_SUBQUERY = False
RATELIMIT_ENABLED = True
RATELIMIT_APPLICATION = ""  # the limit below is for logging in alone
RATELIMIT_STORAGE_URI = f"ssc-sqlite://{settings.superset_dir()}/login_limit.db"
AUTH_RATE_LIMITED = True
AUTH_RATE_LIMIT = os.environ.get("SSC_SUPERSET_LOGIN_LIMIT", "10 per minute")

# The browser ---------------------------------------------------------------------------------------------------------------
ENABLE_PROXY_FIX = _HTTPS
ENABLE_CORS = False
WTF_CSRF_ENABLED = True
SESSION_COOKIE_NAME = "ssc_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = _HTTPS
PERMANENT_SESSION_LIFETIME = timedelta(hours=8)
TALISMAN_ENABLED = True
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'", "data:"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": _HTTPS,
    "strict_transport_security": _HTTPS,
    "referrer_policy": "same-origin",
    "permissions_policy": {"geolocation": "()", "camera": "()", "microphone": "()"},
}
TALISMAN_DEV_CONFIG = TALISMAN_CONFIG
CONTENT_SECURITY_POLICY_WARNING = False
HTML_SANITIZATION = True
HTML_SANITIZATION_SCHEMA_EXTENSIONS = {"attributes": {"*": ["style", "className"]}}
MAPBOX_API_KEY = ""
DECKGL_BASE_MAP = [["blank", "空白 blank"]]

# The warehouse -------------------------------------------------------------------------------------------------------------
ROW_LIMIT = 5000
SAMPLES_ROW_LIMIT = 100
SQL_MAX_ROW = 100000
FILTER_SELECT_ROW_LIMIT = 1000
NATIVE_FILTER_DEFAULT_ROW_LIMIT = 500
CSV_STREAMING_ROW_THRESHOLD = sys.maxsize  # streaming would run its own query, past row limits and cache
CSV_EXPORT = {"encoding": "utf-8-sig"}  # so that spreadsheets read the Chinese
SUPERSET_WEBSERVER_TIMEOUT = 60
DASHBOARD_AUTO_REFRESH_MODE = "fetch"  # "force" would go past the cache


def DB_CONNECTION_MUTATOR(uri: Any, params: dict[str, Any], _user: Any, _manager: Any, _source: Any) -> tuple[Any, dict[str, Any]]:
    """Open the release behind the link, read-only and shut off from the file system and the network, whatever is stored."""
    relative = release_link.relative_of(str(uri))
    if relative is None:
        return uri, params
    connect_args = params.setdefault("connect_args", {})
    connect_args["read_only"] = True
    limits = {"memory_limit": "1GB", "threads": 2, **connect_args.get("config", {})}
    connect_args["config"] = {**limits, "enable_external_access": "false", "lock_configuration": "true"}
    return uri.set(database=str(release_link.resolve(relative))), params


# Caches: files that all workers share; figures are keyed by release (security_manager.get_rls_cache_key) --------------------
def _files(name: str, seconds: int) -> dict[str, Any]:
    return {
        "CACHE_TYPE": "FileSystemCache",
        "CACHE_DIR": str(cache.folder(name)),
        "CACHE_DEFAULT_TIMEOUT": seconds,
        "CACHE_THRESHOLD": 20000,
        "CACHE_KEY_PREFIX": name,
    }


CACHE_CONFIG = _files("meta", 86400)
DATA_CACHE_CONFIG = _files("data", 86400)
FILTER_STATE_CACHE_CONFIG = _files("filter", 7 * 86400)
EXPLORE_FORM_DATA_CACHE_CONFIG = _files("explore", 7 * 86400)


class _NoEventLog(AbstractEventLogger):
    """No row per request in the metadata: SQLite has one writer, and nobody reads who looked at what."""

    def log(self, *_args: Any, **_kwargs: Any) -> None:
        """Drop it."""


EVENT_LOGGER = _NoEventLog()

FEATURE_FLAGS = {
    "DASHBOARD_RBAC": True,
    "DRILL_BY": True,
    "DRILL_TO_DETAIL": True,
    "EMBEDDED_SUPERSET": False,
    "ALERT_REPORTS": False,
    "ENABLE_TEMPLATE_PROCESSING": False,
}

# Language and looks --------------------------------------------------------------------------------------------------------
BABEL_DEFAULT_LOCALE = "zh"
LANGUAGES = {"zh": {"flag": "cn", "name": "简体中文"}, "en": {"flag": "us", "name": "English"}}
APP_NAME = "智慧平安社区数据平台"
APP_ICON = "/brand/logo.svg"
LOGO_TOOLTIP = "智慧平安社区 Smart Safe Community"
LOGO_TARGET_PATH = "/"
FAVICONS = [{"href": "/brand/favicon.svg", "type": "image/svg+xml"}]
ENABLE_UI_THEME_ADMINISTRATION = False
THEME_DEFAULT = {
    "algorithm": "default",
    "token": {
        "brandAppName": APP_NAME,
        "brandLogoAlt": APP_NAME,
        "brandLogoUrl": "/brand/logo.svg",
        "brandLogoHref": "/",
        "brandLogoHeight": "30px",
        "brandLogoMargin": "10px 0",
        "colorPrimary": "#1f5f99",
        "colorLink": "#1f5f99",
        "colorInfo": "#1f5f99",
        "colorError": "#c0392b",
        "colorWarning": "#d98c00",
        "colorSuccess": "#2e8b57",
        "fontFamily": "'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', 'Source Han Sans SC', sans-serif",
        "fontUrls": [],
        "borderRadius": 4,
    },
}
THEME_DARK = None
EXTRA_CATEGORICAL_COLOR_SCHEMES = [
    {
        "id": "ssc",
        "label": "平安社区 Safe community",
        "description": "",
        "isDefault": True,
        "colors": ["#1f5f99", "#d98c00", "#2e8b57", "#8a4fa3", "#c0392b", "#4db6ac", "#8d6e63", "#90a4ae"],
    },
    {
        # Without red, orange, yellow and blue, which statutory warnings are told apart by.
        "id": "ssc_quiet",
        "label": "平安社区（提示） Safe community (hints)",
        "description": "",
        "isDefault": False,
        "colors": ["#7440a6", "#2a7f86", "#c5a6de", "#5c6b7a", "#3f0f6b", "#8cc0c4", "#a7b0ba", "#9c5a8c"],
    },
]
CURRENCIES = ["CNY"]
D3_FORMAT = {"decimal": ".", "thousands": ",", "grouping": [3], "currency": ["¥", ""]}
D3_TIME_FORMAT = {
    "dateTime": "%Y年%-m月%-d日 %H:%M:%S",
    "date": "%Y年%-m月%-d日",
    "time": "%H:%M:%S",
    "periods": ["上午", "下午"],
    "days": ["星期日", "星期一", "星期二", "星期三", "星期四", "星期五", "星期六"],
    "shortDays": ["周日", "周一", "周二", "周三", "周四", "周五", "周六"],
    "months": ["一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"],
    "shortMonths": [f"{month}月" for month in range(1, 13)],
}


def FLASK_APP_MUTATOR(app: Any) -> None:
    """Add the static site, the brand's files and what is kept from visitors."""
    from flask import Blueprint

    from dashboards import language, public_responses, site_pages

    app.register_blueprint(site_pages.blueprint)
    app.register_blueprint(Blueprint("brand", __name__, static_folder=str(Path(__file__).parent / "brand"), static_url_path="/brand"))
    public_responses.register(app, public="transparency", internal="operations")
    language.register(app)
    # Superset warns at every anonymous request that it cannot store a person that there is not.
    logging.getLogger().addFilter(lambda record: "Failed to add user to db session" not in record.getMessage())
