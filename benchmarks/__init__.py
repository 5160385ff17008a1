"""How fast the endpoint is, as ratios measured in one run; ``python -m benchmarks`` runs them."""
