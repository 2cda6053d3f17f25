"""A real object server on this machine alone: SeaweedFS, which the development extra installs as one program."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fsspec

from motive.errors import StoreError
from motive.folders import open_folder

KEYS = {"accessKey": "motive", "secretKey": "motive-secret"}
BUCKET = "tests"
PARTS = ("master", "volume", "filer", "s3")


@contextmanager
def object_server(folder: Path) -> Iterator[str]:
    """Run a server that keeps its data in `folder`; the address of a bucket on it. The environment tells where it is, here and
    to processes started meanwhile."""
    identity = {"name": "tests", "credentials": [KEYS], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip([f"{part}{kind}" for part in PARTS for kind in (".port", ".port.grpc")], free_ports(8), strict=True))
    program = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert program, "the object server is missing: pip install '.[dev]'"
    command = [
        *(program, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0"),
        *(f"-{name}={port}" for name, port in ports.items()),
        *(f"-{part}.localSocket={folder / f'{part}.sock'}" for part in ("filer", "s3")),
    ]
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
        "AWS_ACCESS_KEY_ID": KEYS["accessKey"],
        "AWS_SECRET_ACCESS_KEY": KEYS["secretKey"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.txt").open("w"))
        server = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
        stack.callback(server.kill)
        stack.enter_context(environment(settings))
        wait_for_bucket(server, folder)
        try:
            yield f"s3://{BUCKET}"
        finally:
            for part in PARTS:
                Path(f"/tmp/seaweedfs-{part}-grpc-{ports[f'{part}.port.grpc']}.sock").unlink(missing_ok=True)  # noqa: S108


@contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while; the S3 client, which keeps what it read, is made anew."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for_bucket(server: subprocess.Popen[bytes], folder: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while True:
        assert server.poll() is None, (folder / "log.txt").read_text()[-2000:]
        try:
            with socket.create_connection(("127.0.0.1", int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])), 1):
                pass
            files = fsspec.filesystem("s3", use_listings_cache=False)
            if not files.exists(BUCKET):
                files.mkdir(BUCKET)
            open_folder(f"s3://{BUCKET}/ready").replace("probe", b"1")
            return
        except (OSError, StoreError):
            assert time.monotonic() < end, (folder / "log.txt").read_text()[-2000:]
            time.sleep(0.1)
