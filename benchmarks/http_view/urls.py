"""The two addresses that EMQX's HTTP authenticator and authorizer are given."""

from django.urls import path

from benchmarks.http_view.views import authenticate, authorize

urlpatterns = [path("authenticate", authenticate), path("authorize", authorize)]
