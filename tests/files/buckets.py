"""A server that speaks S3's protocol, in this process, for tests."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class BucketServer:
    """Where a bucket is, and what the environment has to say for it to be found."""

    bucket: str
    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "CAMBER_S3_ACCESS_KEY_ID": "key",
            "CAMBER_S3_SECRET_ACCESS_KEY": "secret",
        }


@contextlib.contextmanager
def bucket_server() -> Iterator[BucketServer]:
    """Serve an empty bucket within the block."""
    import httpx
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        bucket = f"files-{secrets.token_hex(4)}"
        made = httpx.put(
            f"{endpoint}/{bucket}",
            headers={"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4"},
        )
        assert made.status_code == 200, made.text
        yield BucketServer(bucket, endpoint)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
