"""How the admin looks: names, colours and the sidebar. Every file it needs is served by this site."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _static(path: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(path)


def _page(title: str, icon: str, model: str) -> dict[str, Any]:
    """A sidebar entry for those who may see or change the model, named “app_model”."""
    app, name = model.split("_")

    def may_see(request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))

    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
        "permission": may_see,
    }


def colours_are_in_a_file(request: HttpRequest) -> dict[str, Any]:
    """For unfold’s pages: no style element with colours, because colours.css has them."""
    return {"colors": None}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "ExHook Admin",
    "SITE_HEADER": "ExHook Admin",
    "SITE_SUBHEADER": "Who may connect, and do what",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "DASHBOARD_CALLBACK": "exhookadmin.console.dashboard.dashboard",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": _static("exhookadmin/icon.svg")},
    ],
    "SHOW_BACK_BUTTON": True,
    "STYLES": [
        _static("exhookadmin/colours.css"),
        _static("exhookadmin/admin.css"),
        _static("exhookadmin/console.css"),
    ],
    "SCRIPTS": [
        _static("exhookadmin/htmx.js"),
        _static("exhookadmin/times.js"),
        _static("exhookadmin/labels.js"),
    ],
    "ACCOUNT": {
        "navigation": [{"title": "Second factor", "link": reverse_lazy("staff:second_factor")}],
    },
    "GLOBAL_CALLBACK": "exhookadmin.look.colours_are_in_a_file",
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    _page("Devices", "sensors", "accounts_device"),
                    _page("Groups", "workspaces", "accounts_devicegroup"),
                    _page("Policies", "policy", "acl_policy"),
                ],
            },
            {
                "separator": True,
                "items": [
                    _page("Sessions", "wifi_tethering", "audit_session"),
                    _page("Broker nodes", "hub", "audit_brokernode"),
                    {
                        "title": "Audit log",
                        "icon": "receipt_long",
                        "link": reverse_lazy("console:explorer"),
                        "permission": lambda request: request.user.has_perm("audit.view_event"),
                    },
                    {
                        "title": "Strangers",
                        "icon": "person_search",
                        "link": reverse_lazy("console:strangers"),
                        "permission": lambda request: request.user.has_perm("audit.view_event"),
                    },
                    {
                        "title": "Explain",
                        "icon": "question_mark",
                        "link": reverse_lazy("console:explain"),
                        "permission": lambda request: request.user.has_perms(
                            ["accounts.view_device", "acl.view_policy"]
                        ),
                    },
                    _page("Changes", "history", "exhookadmin_recordedchange"),
                ],
            },
            {
                "title": "Programs",
                "separator": True,
                "items": [
                    _page("API keys", "key", "exhookadmin_apikey"),
                    _page("Enrolment keys", "factory", "exhookadmin_enrolmentkey"),
                    _page("Enrolments", "how_to_reg", "exhookadmin_enrolmentattempt"),
                ],
            },
            {
                "title": "Staff",
                "separator": True,
                "items": [
                    _page("Users", "badge", "auth_user"),
                    _page("User groups", "groups", "auth_group"),
                    _page("Logins", "login", "axes_accesslog"),
                    _page("Failed logins", "gpp_bad", "axes_accessattempt"),
                ],
            },
        ],
    },
}
