"""The parts that quantizers share: assignment, initialization, estimators, revival, losses, usage."""
