"""System metrics under MLflow's own names, so that its UI shows them on their own tab.

They are read once per milestone and sent in its request; MLflow's own monitor would send a request every ten seconds.
"""

from __future__ import annotations

import sys

MEGA = 1e6


class SystemMetrics:
    """Measures the load of this process and its machine; CPU percentages are means since the last reading."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self.read()

    def read(self) -> dict[str, float]:
        """Returns `system/...` in MB, in percent of all cores and (process) in percent of one core; never raises."""
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
        """Returns the metrics of the GPU that this process uses, if any; never initializes CUDA."""
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
        except Exception:  # it needs NVIDIA's management library, which torch does not include
            return metrics
        return metrics
