"""A real server on loopback: its answers, refusals in one line, metrics, token, and the swap of its model."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import TypeAdapter
from served import PATIENCE_SECONDS, SENTENCES, Spelled, answers, ask, counts, serving
from spelling_model import CODE, codes

from t5vqvae.latent.answers import ANSWERS
from t5vqvae.latent.requests import REQUESTS


def spelled(words: str) -> list[list[int]]:
    return [[code] for code in codes(words)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(Spelled(), max_texts=4, max_chars=60) as address:
        yield address


ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "reconstruct": ({"texts": ["a bat eats"]}, {"text": "a bat eats", "codes": spelled("a bat eats"), "exact": True}),
    "encode": ({"texts": ["a bat"]}, {"tokens": ["a", "bat", ""], "codes": spelled("a bat"), "prompts": None}),
    "decode": ({"codes": [spelled("big dog")], "compare": ["a dog"]}, {"text": "big dog", "changed": [0]}),
    "interpolate": ({"source": "a bat", "goal": "big bat", "steps": 2}, {}),
    "traverse": (
        {"text": "a bat", "position": 1, "nearest": 2},
        {"text": "a bat", "token": "bat", "code": CODE["bat"]},
    ),
    "arithmetic": (
        {"text": "a bat", "plus": ["a cat"], "minus": ["a bat"]},
        {"plain": "a bat", "text": "a cat", "codes": spelled("a cat"), "changed": [1]},
    ),
    "splice": (
        {"text": "a bat eats honey", "donor": "old dog", "words": "old dog", "replace": "bat"},
        {"text": "a old dog eats honey", "plain": "a bat eats honey", "changed": [1, 2]},
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_operation_answers_what_is_known_by_hand_in_the_form_it_documents(name: str, url: str) -> None:
    body, expected = ASKED[name]
    [found] = answers(f"{url}/{name}", body)
    assert {key: found[key] for key in expected} == expected
    TypeAdapter(ANSWERS[name]).validate_python(found, strict=True)
    assert set(found) == set(ANSWERS[name].__annotations__)


def test_a_path_a_traversal_and_changed_codes_are_those_of_the_model(url: str) -> None:
    [path] = answers(f"{url}/interpolate", ASKED["interpolate"][0])
    assert [step["text"] for step in path["steps"]] == ["a bat", "big bat"]
    assert [step["changed"] for step in path["steps"]] == [[], [0]]
    [found] = answers(f"{url}/traverse", {"text": "a bat", "position": 1, "nearest": 2})
    assert [(each["code"], each["distance"], each["text"]) for each in found["swaps"]] == [
        (3, 1, "a a"),
        (5, 1, "a cat"),
    ]
    changed = {"text": "a bat", "codes": spelled("a dog"), "position": 1, "nearest": 1}
    [found] = answers(f"{url}/traverse", changed)
    assert found["text"] == "a dog" and found["code"] == CODE["dog"] and found["swaps"][0]["text"] == "a cat"


def test_answers_stand_in_the_order_of_the_sentences_for_many_at_once(url: str) -> None:
    texts = ["a bat", "a bat eats honey in caves", "dog", "old cat eats eggs"]

    def asked(place: int) -> list[str]:
        own = texts[place % 4 :] + texts[: place % 4]
        return [each["text"] for each in answers(f"{url}/reconstruct", {"texts": own})]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(asked, range(64)))
    assert found == [texts[place % 4 :] + texts[: place % 4] for place in range(64)]


WRONG: list[tuple[str, Any, int, str]] = [
    ("encode", {"text": ["a"]}, 400, "text is unknown; did you mean texts?"),
    ("encode", {"texts": []}, 400, "texts=[] must have at least 1 items"),
    ("encode", {"texts": ["a", " "]}, 400, "text 2 of 2 is empty"),
    ("encode", {"texts": "a"}, 400, "texts='a' must be a list"),
    ("encode", {"texts": ["a"] * 5}, 400, "5 sentences are more than the 4 of a request"),
    ("encode", {"texts": ["a" * 61]}, 400, "has 61 characters; a sentence may have 60"),
    ("decode", {"codes": [[[1]] * 61]}, 400, "codes has a sentence of 61 positions; it may have 60"),
    ("traverse", {"text": "a", "codes": [[1]] * 61}, 400, "codes has a sentence of 61 positions; it may have 60"),
    ("decode", {"codes": [[[1]]], "compare": ["a" * 61]}, 400, "has 61 characters; a sentence may have 60"),
    ("splice", {"text": "a", "donor": "a", "words": "a" * 61}, 400, "has 61 characters; a sentence may have 60"),
    ("arithmetic", {"text": "a", "plus": ["a"] * 4}, 400, "5 sentences are more than the 4 of a request"),
    ("encode", {"texts": ["a"], "max_new_tokens": 5000}, 400, "max_new_tokens=5000 must be at least 1 and at most 512"),
    ("encode", {"texts": ["a \ud83d"]}, 400, "half a character"),
    ("encode", {"a\ud83d": ["a"]}, 400, "unable to parse raw data"),
    ("splice", {"text": "a bat", "donor": "dog", "words": "dog", "join": "\ud83d"}, 400, "unable to parse raw data"),
    ("encode", {"texts": ["a"], "unsent": 1}, 400, "unsent=1: the model was trained without code dropout"),
    ("encode", b"{", 400, "the body is no JSON"),
    ("encode", b"[" * 12_000, 400, "the body is no JSON"),
    ("encode", b"[1]", 400, "the body is a JSON list"),
    ("encode", b" " * 30_000, 413, "the body has more than"),
    ("decode", {"codes": [[[99]]]}, 400, "has the code 99; codes are 0 to 15"),
    ("decode", {"codes": [[[1, 2]]]}, 400, "must have the shape"),
    ("decode", {"codes": [[[1], [2, 3]]]}, 400, "codes: every sentence needs positions with as many codes each"),
    ("decode", {"codes": [[[1]]], "prompts": [[[1], [2, 3]]]}, 400, "prompts: every sentence needs positions with"),
    ("decode", {"codes": [[[]]]}, 400, "codes: every sentence needs positions with as many codes each, such as [[5]"),
    ("splice", {"text": "a bat", "donor": "dog", "words": "dog", "join": " "}, 400, "join=' ' is blank; give a word"),
    ("decode", {"codes": [[[2**63]]]}, 400, "should be less than 2147483648"),
    ("decode", {"codes": [[[1]]], "prompts": [[[10**30]]]}, 400, "should be less than 2147483648"),
    ("traverse", {"text": "a bat", "codes": [[1], [2, 3]]}, 400, "codes: every sentence needs positions with"),
    ("decode", {"codes": [[[True]]]}, 400, "must be a whole number"),
    ("interpolate", {"source": "a", "goal": "b", "steps": 5}, 400, "steps=5 must be at most 4, the smaller of --max"),
    ("interpolate", {"source": "a", "goal": "b"}, 400, "steps=11, its default, must be at most 4, the smaller"),
    ("traverse", {"text": "a bat", "nearest": 5}, 400, "nearest=5 must be at most 4, the smaller of --max-texts=4 and"),
    ("traverse", {"text": "a bat"}, 400, "nearest=20, its default, must be at most 4, the smaller of"),
    ("traverse", {"text": "a bat", "position": 9, "nearest": 1}, 400, "position=9 is none of 'a bat'"),
    ("interpolate", {"source": "a", "goal": "b", "steps": 1}, 400, "steps=1 must be at least 2"),
    ("splice", {"text": "a bat", "donor": "dog", "words": "cat"}, 400, "'cat' is not in 'dog'"),
    ("nowhere", None, 404, "GET /nowhere: there is no such page; see /docs"),
    ("encode", None, 405, "use another method"),
    ("codes/99", None, 400, "code=99 must lie between 0 and 15"),
    ("codes/x", None, 400, "code='x': Input should be a valid integer"),
    ("codes?codebook=1", None, 400, "codebook=1 must lie between 0 and 0"),
]


@pytest.mark.parametrize(("path", "body", "status", "reason"), WRONG)
def test_a_wrong_request_is_refused_in_one_line(path: str, body: Any, status: int, reason: str, url: str) -> None:
    code, found = ask(f"{url}/{path}", body)
    assert (code, list(found)) == (status, ["error"])
    assert reason in found["error"] and "\n" not in found["error"]


def test_a_model_without_codes_says_so() -> None:
    with serving(Spelled("none")) as url:
        assert answers(f"{url}/reconstruct", {"texts": ["a bat"]})[0]["codes"] is None
        for path, body in (("encode", {"texts": ["a"]}), ("codes", None)):
            status, found = ask(f"{url}/{path}", body)
            assert status == 400 and "quantizer none has no codes" in found["error"]


def test_the_token_is_needed_except_for_health_metrics_and_what_has_no_data() -> None:
    with serving(Spelled(), token="secret", page=True) as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            status, found = ask(f"{url}/encode", {"texts": ["a"]}, **headers)
            assert status == 401 and "Authorization: Bearer TOKEN" in found["error"]
        assert ask(f"{url}/encode", {"texts": ["a"]}, Authorization="Bearer secret")[0] == 200
        assert ask(f"{url}/codes")[0] == 401
        assert ask(f"{url}/openapi.json")[0] == 200 and ask(f"{url}/health")[0] == 200
        with urllib.request.urlopen(f"{url}/docs", timeout=PATIENCE_SECONDS) as reply:
            assert "POST /encode" in reply.read().decode()
        assert counts(url)['t5vqvae_serve_requests_total{route="/encode",status="200"}'] == 1


def test_metrics_count_requests_batches_and_the_model() -> None:
    with serving(Spelled()) as url:
        answers(f"{url}/encode", {"texts": ["a", "a bat"]})
        ask(f"{url}/encode", {})
        ask(f"{url}/no/such")
        found = counts(url)
    assert found['t5vqvae_serve_requests_total{route="/encode",status="200"}'] == 1
    assert found['t5vqvae_serve_requests_total{route="/encode",status="400"}'] == 1
    assert found['t5vqvae_serve_requests_total{route="unknown",status="404"}'] == 1
    assert found['t5vqvae_serve_latency_seconds_count{route="/encode"}'] == 2
    assert found["t5vqvae_serve_batch_size_sum"] == 2 and found["t5vqvae_serve_queue_length"] == 0
    assert found['t5vqvae_serve_model_info{name="spelling",version="1"}'] == 1


def test_a_full_queue_answers_503_with_a_time() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Held(Spelled):
        def load(self, version: str) -> Any:
            found = super().load(version)
            model, encode = found.space.model, found.space.model.encode_memory

            def held(batch: Any) -> Any:
                begun.set()
                assert go_on.wait(PATIENCE_SECONDS)
                return encode(batch)

            model.encode_memory = held
            return found

    with serving(Held(), queue=2) as url, ThreadPoolExecutor(2) as pool:
        computed = pool.submit(ask, f"{url}/encode", {"texts": ["a"]})
        assert begun.wait(PATIENCE_SECONDS)
        waiting = pool.submit(ask, f"{url}/encode", {"texts": ["a", "b"]})
        while ask(f"{url}/health")[1]["queue"] < 2:
            pass
        request = urllib.request.Request(f"{url}/encode", json.dumps({"texts": ["a"]}).encode())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
        go_on.set()
        assert refused.value.code == 503 and refused.value.headers["Retry-After"] == "1"
        assert computed.result()[0] == waiting.result()[0] == 200


def test_what_no_empty_queue_holds_is_refused_for_good_and_the_rest_is_answered() -> None:
    why = "the smaller of --max-texts=64 and --queue=2"
    larger = "give a smaller one, or serve with larger limits"
    with serving(Spelled(), queue=2) as url:
        assert ask(f"{url}/encode", {"texts": ["a"] * 3}) == (
            400,
            {"error": f"3 sentences are more than the 2 of a request, {why}; send them in parts"},
        )
        assert ask(f"{url}/traverse", {"text": "a", "nearest": 3}) == (
            400,
            {"error": f"nearest=3 must be at most 2, {why}; {larger}"},
        )
        assert ask(f"{url}/traverse", {"text": "a"}) == (
            400,
            {"error": f"nearest=20, its default, must be at most 2, {why}; {larger}"},
        )
        assert answers(f"{url}/encode", {"texts": ["a", "a"]})
        assert answers(f"{url}/traverse", {"text": "a", "nearest": 2})
        assert answers(f"{url}/arithmetic", {"text": "a", "plus": ["a bat", "dog"]}), "it decodes one text"
        assert ask(f"{url}/codes")[1]["sentences"] == len(SENTENCES) == 3, "they are read two at a time"


def test_a_fault_is_one_line_with_its_log_and_the_server_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    class Faulty(Spelled):
        def load(self, version: str) -> Any:
            found = super().load(version)
            model, encode = found.space.model, found.space.model.encode_memory

            def broken(batch: Any) -> Any:
                if batch.input_ids_BT.shape[1] > 3:
                    raise RuntimeError("a fault")
                return encode(batch)

            model.encode_memory = broken
            return found

    with serving(Faulty()) as url:
        status, found = ask(f"{url}/encode", {"texts": ["a bat eats eggs"]})
        assert status == 500 and found == {"error": "the server failed with RuntimeError; its log has the reason"}
        assert ask(f"{url}/encode", {"texts": ["a bat"]})[0] == 200 and ask(f"{url}/health")[0] == 200
        assert counts(url)['t5vqvae_serve_requests_total{route="/encode",status="500"}'] == 1
    assert "RuntimeError: a fault" in capfd.readouterr().err


def test_health_fails_when_nothing_computes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Spelled()) as url:
        monkeypatch.setattr("t5vqvae.serving.batcher.Batcher.alive", False)
        status, found = ask(f"{url}/health")
        assert status == 500 and "the thread that computes has ended; start the server again" in found["error"]


def test_the_alias_moves_under_load_and_no_request_is_dropped() -> None:
    source, seen, stop = Spelled(), [], threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            status, found = ask(f"{url}/reconstruct", {"texts": ["a bat eats", "dog"]})
            seen.append((status, found.get("model", found)["version"], [each["text"] for each in found["answers"]]))

    with serving(source, refresh_seconds=0.05) as url:
        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in ("2", "3"):
            source.version = version
            while ask(f"{url}/health")[1]["model"]["version"] != version:
                pass
        stop.set()
        for thread in threads:
            thread.join()
        found = counts(url)
    assert source.loaded == ["1", "2", "3"]
    assert {status for status, *_ in seen} == {200} and {"1", "3"} <= {version for _, version, _ in seen} | {"3"}
    assert all(texts == ["a bat eats", "dog"] for *_, texts in seen)
    models = [name for name in found if "model_info" in name]
    assert models == ['t5vqvae_serve_model_info{name="spelling",version="3"}']


def test_an_alias_that_cannot_be_read_leaves_the_model_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    from t5vqvae.errors import TrackingError

    class Away(Spelled):
        asked = 0

        def newest(self) -> str:
            self.asked += 1
            if self.asked > 1:
                raise TrackingError("the server is away")
            return "1"

    source = Away()
    with serving(source, refresh_seconds=0.02) as url:
        while source.asked < 5:
            assert answers(f"{url}/encode", {"texts": ["a"]})
    assert capsys.readouterr().err.count("still serving version 1: the server is away") == 1


def test_a_version_that_cannot_be_loaded_is_reported_and_the_next_one_is_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(Spelled):
        def load(self, version: str) -> Any:
            found = super().load(version)
            if version == "2":
                raise RuntimeError("a fault\nin two lines")
            return found

    source = Broken()
    with serving(source, refresh_seconds=0.02) as url:
        source.version = "2"
        while source.loaded.count("2") < 3:
            assert ask(f"{url}/health")[1]["model"]["version"] == "1"
        source.version = "3"
        while ask(f"{url}/health")[1]["model"]["version"] != "3":
            assert answers(f"{url}/encode", {"texts": ["a"]})
    assert capsys.readouterr().err.count("still serving version 1: RuntimeError: a fault in two lines\n") == 1


def test_the_page_of_a_code_counts_what_stands_in_the_sentences(url: str) -> None:
    status, page = ask(f"{url}/codes/{CODE['bat']}")
    assert status == 200 and page["sentences"] == 3 and page["entries"] == 16
    assert page["use"]["count"] == 3 and page["use"]["purity"] == 1 and page["use"]["words"] == [["bat", 3]]
    assert [each["text"] for each in page["contexts"]] == [SENTENCES[0], SENTENCES[2]]
    assert page["contexts"][1]["positions"] == [1, 4] and page["contexts"][1]["spans"] == [[4, 7], [16, 19]]
    unused = ask(f"{url}/codes/{CODE['dog']}")[1]
    assert unused["use"]["count"] == 0 and unused["contexts"] == [] and unused["use"]["purity"] is None
    listed = ask(f"{url}/codes")[1]["codes"]
    assert ask(f"{url}/codes")[1]["model"] == page["model"] == {"name": "spelling", "version": "1"}
    assert sum(each["count"] for each in listed) == sum(len(codes(text)) for text in SENTENCES)


def test_openapi_names_every_operation_its_fields_and_its_answer(url: str) -> None:
    schema = ask(f"{url}/openapi.json")[1]
    for name, body in REQUESTS.items():
        operation = schema["paths"][f"/{name}"]["post"]
        fields = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert set(fields) == set(body.model_fields) and all("description" in each for each in fields.values())
        assert {"400", "401", "413", "500", "503"} <= set(operation["responses"])
        reply = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        assert reply.endswith(f"{body.__name__}Reply")
    with urllib.request.urlopen(f"{url}/docs", timeout=20) as reply:
        page = reply.read().decode()
    assert "<script" not in page and "//" not in page.replace("http://127", "")
    assert all(f"POST /{name}" in page for name in REQUESTS) and "needed" in page
    longest = (
        "<td><code>max_new_tokens</code></td><td>integer or null</td><td>default null; at least 1; at most 512</td>"
    )
    assert page.count(longest) == len(REQUESTS)
