"""The page `watch` says what the study asks, how far it is, and names its series in words."""

from __future__ import annotations

import re
import socket
import struct
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kept_studies import keep_study, start_trial

from t5vqvae.stages import duration
from tune.monitor.watch_page import WatchedStudy, server_of

HANGS_UP = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset at once, as a browser that goes away."""


def words(numbers: Any, metric: str) -> dict[str, float]:
    [panel] = [one for one in numbers["panels"] if one["metric"] == f"t5vqvae_{metric}"]
    return {one["words"]: one["value"] for one in panel["series"]}


def test_a_running_study_says_its_question_how_far_it_is_and_what_each_number_is_of(tmp_path: Path) -> None:
    paths = keep_study(tmp_path, trials=6, ended=3)
    start_trial(paths, 3, planned=6, before=3, ago=10, step=20)
    with paths.locked():
        found = WatchedStudy("kept", tmp_path).numbers()
    assert (found["study"], found["question"], found["share"]) == ("kept", "Which rate learns?", 0.5)
    said = re.fullmatch(r"running: 3 of 6 trials done, about (.*) left", found["state"])
    # Half a trial in 10 s and what this test takes; two and a half are left.
    assert said is not None and said[1] in {duration(seconds) for seconds in range(50, 90)}
    assert words(found, "best_objective") == {"nll": 0.3}
    assert words(found, "trial_objective") == {"trial 3, nll": 0.7}
    assert words(found, "rung_survivors").keys() == {"past step 10", "past step 20"}
    places = {panel["metric"]: panel["place"] for panel in found["panels"]}
    assert places["t5vqvae_best_objective"] == "few" and places["t5vqvae_trials"] == "many"


def test_a_finished_study_has_no_time_left(tmp_path: Path) -> None:
    keep_study(tmp_path)
    found = WatchedStudy("kept", tmp_path).numbers()
    assert (found["state"], found["share"]) == ("finished: 4 of 4 trials done", 1.0)


def test_a_browser_that_goes_away_is_no_error() -> None:
    gone, ended, faults = threading.Event(), threading.Event(), list[Any]()

    def numbers() -> dict[str, str]:
        assert gone.wait(30)
        return {"much": "x" * 10_000_000}

    watched: Any = SimpleNamespace(numbers=numbers)
    with server_of(watched) as server:
        server.handle_error = lambda *given: faults.append(given)  # type: ignore[method-assign]
        server.shutdown_request = lambda request: (request.close(), ended.set())  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection(("127.0.0.1", server.server_port)) as browser:
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANGS_UP)
            browser.sendall(b"GET /numbers HTTP/1.1\r\nHost: x\r\n\r\n")
        gone.set()
        assert ended.wait(30)
        server.shutdown()
    assert faults == []
