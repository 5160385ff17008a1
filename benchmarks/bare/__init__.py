"""HookProviders that allow everything without looking: what a transport can do at most."""
