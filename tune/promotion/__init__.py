"""Promotes the best trial: tests it, registers it, and compares it with the champion."""
