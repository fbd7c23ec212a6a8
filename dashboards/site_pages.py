"""The static site on Superset's own port: ``/site/public/**`` for everybody, the rest of ``/site/`` for people with an account.

Serves files as they lie in ``data/site/``; builds none.
"""

from __future__ import annotations

from flask import Blueprint, Response, abort, g, redirect, request, send_from_directory

from dashboards.settings import site_dir

PUBLIC_FOLDERS = {"public"}
_POLICY = {"base-uri": "'self'", "object-src": "'none'", "frame-ancestors": "'self'", "img-src": "'self' data: blob:"}
PUBLIC_POLICY = {**_POLICY, "default-src": "'self'", "style-src": "'self' 'unsafe-inline'", "script-src": "'self'"}
# Data Docs and dbt docs are generated with inline scripts and hold values that departments sent: they run in an origin of
# their own (no allow-same-origin), so that nothing in them can act in the session of the reader.
INTERNAL_POLICY = {
    **_POLICY,
    "default-src": "'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
    "sandbox": "allow-scripts allow-popups allow-downloads",
}

blueprint = Blueprint("site_pages", __name__)


def _serve(relative: str) -> Response:
    path = site_dir() / relative
    if path.is_dir():
        if relative and not request.path.endswith("/"):
            return redirect(request.path + "/")  # type: ignore[return-value]
        relative = f"{relative.rstrip('/')}/index.html".lstrip("/")
    if any(part.startswith(".") for part in relative.split("/")):
        abort(404)
    # send_from_directory joins safely: it answers 404 to whatever leaves the folder. Links that lead out do so too.
    if not (site_dir() / relative).resolve().is_relative_to(site_dir().resolve()):
        abort(404)
    return send_from_directory(site_dir(), relative, max_age=300)


@blueprint.get("/site/public/", defaults={"relative": ""})
@blueprint.get("/site/public/<path:relative>")
def public_page(relative: str) -> Response:
    """A page of the public part."""
    return _serve(f"public/{relative}".rstrip("/"))


@blueprint.get("/site/", defaults={"relative": ""})
@blueprint.get("/site/<path:relative>")
def internal_page(relative: str) -> Response:
    """A page of the part for people with an account; visitors are sent to the login, whether the page exists or not."""
    if getattr(g, "user", None) is None or g.user.is_anonymous:
        return redirect(f"/login/?next=/site/{relative}")  # type: ignore[return-value]
    return _serve(relative)


public_page.talisman_view_options = {"content_security_policy": PUBLIC_POLICY, "content_security_policy_nonce_in": []}  # type: ignore[attr-defined]
internal_page.talisman_view_options = {"content_security_policy": INTERNAL_POLICY, "content_security_policy_nonce_in": []}  # type: ignore[attr-defined]
