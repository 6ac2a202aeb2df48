"""System metrics, under MLflow's own names so that its UI shows them on their tab.

Read once a milestone and sent in its request; MLflow's own monitor would send its own every ten seconds.
"""

from __future__ import annotations

import sys

MEGA = 1e6


class SystemMetrics:
    """Reads this process and its machine; percentages are means since the previous reading."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self.read()

    def read(self) -> dict[str, float]:
        """Returns `system/...` in percent of all cores, of one core (process) and in MB; never raises."""
        try:
            return self._cpu() | self._gpu()
        except Exception:
            return {}

    def _cpu(self) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        return {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / MEGA,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_cpu_percentage": self._process.cpu_percent(),
            "system/process_memory_megabytes": self._process.memory_info().rss / MEGA,
        }

    def _gpu(self) -> dict[str, float]:
        """Returns the used GPU's metrics when this process has one in use; never starts CUDA by asking."""
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return {}
        index = torch.cuda.current_device()
        free, total = torch.cuda.mem_get_info(index)
        metrics = {
            f"system/gpu_{index}_memory_usage_megabytes": (total - free) / MEGA,
            f"system/gpu_{index}_memory_usage_percentage": 100 * (1 - free / total),
        }
        try:
            metrics[f"system/gpu_{index}_utilization_percentage"] = float(torch.cuda.utilization(index))
        except Exception:  # needs NVIDIA's management library, which torch does not bring
            return metrics
        return metrics
