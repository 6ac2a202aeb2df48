"""Where a search runs: the embedded services of one machine, and the manifests of real clusters."""
