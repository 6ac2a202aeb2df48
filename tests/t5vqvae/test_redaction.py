"""No password survives the redaction, malformed URLs included; what holds none stays as it is."""

from __future__ import annotations

import pytest

from t5vqvae.redaction import redacted, redacted_values

SECRETS = {
    "http://user:hunter2@host:5000/path": "http://host:5000/path",
    "https://hunter2@host": "https://host",
    "http://u:hunter2@[bad": "http://[bad",
    "http://u:hunter2@[::1]:5000": "http://[::1]:5000",
    "http://u:hunt@er2@host/x": "http://host/x",
    "http://u:hunt/er2@host/x": "http://host/x",
    "http://u:hunt?er2@host": "http://host",
    "http://u:#hunter2@host": "http://host",
    "http://u:hunt er2@host": "http://host",
    "http://u:hunt'er2@host": "http://host",
    'http://u:hunt"er2@host': "http://host",
    "http://u:12hunter2/x@host": "http://host",
    "redis://:hunter2@host/0": "redis://host/0",
    "postgresql+psycopg2://u:hunter2@db/mlflow": "postgresql+psycopg2://db/mlflow",
    "postgresql:///mlflow?user=u&password=hunter2&sslmode=require": (
        "postgresql:///mlflow?user=u&password=***&sslmode=require"
    ),
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dhunter2": "mssql+pyodbc:///?odbc_connect=***",
    "s3://AKIA:hunter2@bucket/key": "s3://bucket/key",
    "s3://bucket/a?X-Amz-Signature=hunter2&X-Amz-Date=1": "s3://bucket/a?X-Amz-Signature=***&X-Amz-Date=1",
    "https://h/c?sv=1&sig=hunter2": "https://h/c?sv=1&sig=***",
    "https://h/?access_token=hunter2#top": "https://h/?access_token=***#top",
    "https://h/?api_key=hunter2'": "https://h/?api_key=***'",
    "https://h/?AWSAccessKeyId=hunter2": "https://h/?AWSAccessKeyId=***",
    "user:hunter2@host:5000": "host:5000",
    "tracking.uri=user:hunter2@host": "tracking.uri=host",
    "http:/u:hunter2@host": "http:/host",
    "//u:hunter2@host": "//host",
    "/work/http:/u:hunter2@host/x": "/work/http:/host/x",
    "two: http://a:hunter2@x, 'ftp://b:hunter2@y'; more": "two: http://x, 'ftp://y'; more",
    "MLFLOW_TRACKING_PASSWORD=hunter2 t5vqvae": "MLFLOW_TRACKING_PASSWORD=*** t5vqvae",
    "host=h user=u password=hunter2": "host=h user=u password=***",
    'MLFLOW_TRACKING_PASSWORD="hunter2" make': "MLFLOW_TRACKING_PASSWORD=*** make",
    "password='hunter 2' make": "password=*** make",
    "api_key=hunter2 client_secret=hunter2": "api_key=*** client_secret=***",
    "postgresql://u:2024/hunter2@h/db": "postgresql://h/db",
    "mysql+pymysql://u:2024/hunter2@h/db": "mysql+pymysql://h/db",
    "sftp://me:hunter2@host/x": "sftp://host/x",
    "Authorization: Bearer hunter2hunter2": "Authorization: Bearer ***",
    "HTTP://U:hunter2@HOST": "HTTP://HOST",
    "http://ü:hunter2@host": "http://host",
}

HARMLESS = [
    "",
    "http://127.0.0.1:5000/#/experiments/1/runs/a@b",
    "http://[::1]:5000/x@y",
    "sqlite:////tmp/a:b@c/50%/mlflow.db",
    "sqlite:///a:b@c/mlflow.db",
    "/tmp/a:b@c/study.json",
    "/a:b@c/study.json",
    "models:/t5vqvae@champion",
    "retention.copy_to=abfs://studies@account.dfs.core.windows.net/team",
    "sftp://me@host/x",
    "rate/bits_per_token=3.0 first_token=2",
    'mlflow.pyfunc.load_model("models:/t5vqvae@champion")',
    "question=@file.txt",
    "optim.learning_rate=0.001 data.max_tokens=64 train/tokens=3",
    "http://HOST:5000 is away; set MLFLOW_TRACKING_URI",
    "https://h/?page=2&sort=name",
    "data.corpus.source_key=q",
    "git@github.com:owner/name.git",
]


@pytest.mark.parametrize(("text", "right"), SECRETS.items())
def test_a_secret_is_left_out(text: str, right: str) -> None:
    assert redacted(text) == right
    assert "hunt" not in redacted(f"error: '{text}' is no server (see {text})") and "er2" not in redacted(text)
    assert redacted(right) == right


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_without_secrets_stays(text: str) -> None:
    assert redacted(text) == text


def test_nested_values_lose_theirs() -> None:
    values = {"tracking": {"uri": "http://u:hunter2@h"}, "list": ["http://u:hunter2@h", 3, None]}
    assert redacted_values(values) == {"tracking": {"uri": "http://h"}, "list": ["http://h", 3, None]}
