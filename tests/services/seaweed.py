"""An S3 server (SeaweedFS, one process, one folder, loopback) of this process's own."""

from __future__ import annotations

import random
import shutil
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

from services.process import Server, missing, short_folder

BUCKET = "artline"
ACCESS_KEY = "artline-test"
SECRET_KEY = "artline-test-secret"
REMEDY = "It comes with the development dependencies: make test, or pip install 'artline[dev]'"
# Each server also opens its port + 10000. Both lie below the range that the kernel hands to clients.
LOWEST, HIGHEST, TWIN = 10_000, 22_000, 10_000


def free_ports(count: int) -> list[int]:
    """Return ports that are free, and whose twins are, at this moment."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if len(found) == count:
            break
        if all(_is_free(p) for p in (port, port + TWIN)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables by which S3 clients find a server with no arguments."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }


class Seaweed:
    def __init__(self) -> None:
        program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        if program is None:
            missing("SeaweedFS (weed)", REMEDY)
        for _ in range(5):  # a port may be taken between finding it free and binding it
            if self._start(str(program)):
                return
        raise RuntimeError(f"SeaweedFS did not start:\n{self._server.tail()}")

    def _start(self, program: str) -> bool:
        s3, master, filer, volume, admin = free_ports(5)
        folder = short_folder("s3")
        (folder / "data").mkdir()
        self.endpoint = f"http://127.0.0.1:{s3}"
        command = [program, "-logtostderr=true", "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1"]
        command += ["-ip.bind=127.0.0.1", f"-s3.port={s3}", f"-master.port={master}"]
        command += [f"-filer.port={filer}", f"-volume.port={volume}", f"-admin.port={admin}"]
        command += ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += ["-master.telemetry=false", f"-bucket={BUCKET}"]
        environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "GOMEMLIMIT": "300MiB",
            "HOME": str(folder),
        }
        self._server = Server(command, folder, environment=environment)
        return self._server.wait_until(self._answers, 60)

    def environment(self) -> dict[str, str]:
        """Return the variables by which boto3 and s3fs find this server with no arguments."""
        return environment(self.endpoint)

    def stop(self) -> None:
        self._server.stop()

    def _answers(self) -> bool:
        """Tell whether a bucket request is answered (refused for want of a signature will do)."""
        import botocore.session

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"{self.endpoint}/", timeout=2).close()
        except urllib.error.HTTPError as refused:
            refused.close()
        except OSError:
            return False
        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        try:
            client.head_bucket(Bucket=BUCKET)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is not ready yet
            self.last_error = error
            return False
        finally:
            client.close()
        return True
