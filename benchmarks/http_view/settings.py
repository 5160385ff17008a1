"""The product's settings for the HTTP view: its two URLs, and no middleware, for it needs none."""

from benchmarks.settings import *  # noqa: F403

MIDDLEWARE = []
ROOT_URLCONF = "benchmarks.http_view.urls"
WSGI_APPLICATION = "benchmarks.http_view.wsgi.application"
ALLOWED_HOSTS = ["127.0.0.1"]
