"""How many trials a cluster holds: on the nodes that it has now, and on those that may still come.

A cluster grows in two ways. An autoscaler adds nodes of known types: Ray's own record of them counts where there is one
(`ClusterConfig`; no autoscaler of Ray 2.60 writes it for itself), else the variable T5VQVAE_NODE_TYPES, which the
manifests of `cluster/` set. And workers that are still starting join a head without CPUs.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from t5vqvae.errors import EnvironmentFault, SettingError, UserError
from t5vqvae.runs.attempt import share_of
from t5vqvae.stages import stage
from tune.execution.gpu_memory import MOST
from tune.execution.trial import TrialPlan

VARIABLE = "T5VQVAE_NODE_TYPES"
EXAMPLE = '[{"CPU": 8, "GPU": 1, "max": 4}]'
LOOK_SECONDS = 1.0
"""How long what is known of the nodes counts."""
MOST_NODES = 1000
"""Nodes that are counted of a type without a limit."""


@dataclass(frozen=True)
class Node:
    """The CPUs and GPUs of a node."""

    cpus: float
    gpus: float

    def workers(self, plan: TrialPlan) -> int:
        """Returns how many workers of a trial it holds at once."""
        rooms = [workers_on(self.cpus, plan.cpus), workers_on(self.gpus, share_of(MOST) if plan.packed else plan.gpus)]
        if self.gpus < plan.gpus or self.cpus < plan.cpus:
            return 0
        return min(room for room in rooms if room is not None)


def workers_on(total: float, each: float) -> int | None:
    """Returns how many workers fit on CPUs or GPUs; None: any number. A worker's fraction lies within one device."""
    if each == 0:
        return None
    return math.floor(1 / each + 1e-9) * math.floor(total) if each < 1 else math.floor(total / each)


def trials_on(nodes: Sequence[Node], plan: TrialPlan) -> int:
    """Returns how many trials nodes hold at once; a worker lies within one node, a trial's workers on any."""
    return sum(node.workers(plan) for node in nodes) // plan.workers


class Room:
    """How many trials may be with Ray at once; nodes that join or are lost later count, too.

    Args:
        plan: What the trials share.
        wanted: Most trials at once; None: as many as the nodes hold.
        living: Returns the nodes that are there.
        types: The nodes that an autoscaler may add, each as often as it may; None: as the cluster names them.
        is_own: Whether this process started the cluster: then it has one node, and none takes its place.
    """

    def __init__(
        self,
        plan: TrialPlan,
        wanted: int | None = None,
        living: Callable[[], Sequence[Node]] | None = None,
        types: Sequence[Node] | None = None,
        *,
        is_own: bool = False,
    ) -> None:
        self.plan = plan
        self.wanted = wanted
        self.types = _node_types() if types is None else types
        self._living = living or living_nodes
        self._nodes: Sequence[Node] = ()
        self._looked = -math.inf
        self._held = False
        self._is_own = is_own
        self._to_come = trials_on(self.types, plan)

    def __call__(self) -> int:
        """Returns the room, at least 1: Tune keeps a trial pending that waits for a node."""
        now = trials_on(self.nodes, self.plan)
        if self._held and not now and self.lost() is None:
            print(f"no node holds a trial any more ({self._needs}); waiting for workers", flush=True)
        self._held = now > 0
        # Trials that wait for nodes make an autoscaler add some; each is drawn before it is known what others find.
        room = max(1, now, min(self._to_come, 2 * max(1, now)))
        return room if self.wanted is None else min(room, self.wanted)

    def lost(self) -> str | None:
        """Returns why no trial can ever run again; None while one can."""
        if not self._is_own or self.nodes:
            return None
        return "Ray's only node has ended (its raylet was killed, or memory ran out); run the same command again"

    @property
    def nodes(self) -> Sequence[Node]:
        """The living nodes."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._nodes, self._looked = self._living(), time.monotonic()
        return self._nodes

    @property
    def gpus(self) -> float:
        """All GPUs, those of nodes that may come included."""
        return max(sum(node.gpus for node in nodes) for nodes in (self.nodes, self.types))

    def wait(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Waits until a trial fits, as long as it can, and reports that.

        Args:
            ended: Returns whether to wait no longer.

        Raises:
            UserError: If a trial fits no node that is there, and none that may come.
            EnvironmentFault: If the only node has ended.
        """
        if self._fits():
            return
        print(f"no node holds a trial yet ({self._needs}); waiting for workers that can come", flush=True)
        self._request_nodes(True)
        try:
            with stage("waiting for workers") as now:
                while not self._fits() and not ended():
                    if (lost := self.lost()) is not None:
                        raise EnvironmentFault(lost)
                    now.set(0, note=f"none of {len(self.nodes)} nodes holds a trial")
                    time.sleep(LOOK_SECONDS / 2)
        finally:
            self._request_nodes(False)

    def _fits(self) -> bool:
        """Returns whether a trial fits now; refuses one that never will."""
        nodes = self.nodes  # read once: one may join between two readings
        if trials_on(nodes, self.plan):
            return True
        may_come = self._to_come > 0 if self.types else all(not node.cpus for node in nodes)
        if not may_come:
            raise UserError(self._refusal())
        return False

    @property
    def _needs(self) -> str:
        plan = self.plan
        return f"{plan.workers} x {plan.cpus:g} CPUs, {plan.gpus:g} GPUs"

    def _refusal(self) -> str:
        plan, nodes = self.plan, [*self.nodes, *self.types]
        cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        for what, each, total in (("GPUs", plan.gpus, gpus), ("CPUs", plan.cpus, cpus)):
            if each * plan.workers > total:
                way_out = "set resources.gpus=0 to train on CPUs" if what == "GPUs" else "set either lower"
                return (
                    f"resources.{what.lower()}={each:g} x resources.workers={plan.workers} is more than the cluster's"
                    f" {total:g} {what}; {way_out}"
                )
        sizes = sorted({f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes if node.cpus})
        return (
            f"resources.cpus={plan.cpus:g} with resources.gpus={plan.gpus:g}, x resources.workers={plan.workers}, fit"
            f" no node of this cluster, whose nodes have {', or '.join(sizes)}; set them lower"
        )

    def _request_nodes(self, wanted: bool) -> None:
        """Requests the nodes of one trial, or withdraws that; an autoscaler adds none that nobody requests."""
        from ray.autoscaler.sdk import request_resources

        bundle = {"CPU": self.plan.cpus, **({"GPU": self.plan.gpus} if self.plan.gpus else {})}
        request_resources(bundles=[bundle] * self.plan.workers if wanted else [])


def living_nodes() -> list[Node]:
    """Returns the nodes of the cluster that this process is connected to."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in found]


def _node_types() -> list[Node]:
    """Returns the nodes that an autoscaler may add, each as often as it may; none where nobody names them."""
    return _said_by_ray() or _said_by_variable(os.environ.get(VARIABLE, ""))


def _said_by_ray() -> list[Node]:
    from ray._private.state import state

    config: Any = state.get_cluster_config()
    if config is None:
        return []
    counted = [(group.resources, group.max_count) for group in config.node_group_configs]
    return [node for resources, number in counted for node in _several(resources, number)]


def _said_by_variable(text: str) -> list[Node]:
    """Returns the nodes of a variable as `EXAMPLE`.

    Raises:
        SettingError: If it is something else.
    """
    if not text.strip():
        return []
    try:
        return [node for one in json.loads(text) for node in _several(one, int(one.get("max", 1)))]
    except (ValueError, TypeError, AttributeError):
        raise SettingError(f"{VARIABLE}={text} lists no node types; write it as {EXAMPLE}, or unset it") from None


def _several(resources: Mapping[str, float], number: int) -> list[Node]:
    node = Node(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))
    return [node] * (MOST_NODES if number < 0 else min(number, MOST_NODES))
