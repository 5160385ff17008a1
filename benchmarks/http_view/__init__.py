"""What people run today instead: a Django view that EMQX's HTTP authenticator and authorizer call."""
