"""An S3 server without conditional writes (rclone, serving a folder) of this process's own."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from services.process import Server, missing, short_folder
from services.seaweed import ACCESS_KEY, BUCKET, REMEDY, SECRET_KEY, environment, free_ports


class Rclone:
    def __init__(self) -> None:
        program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
        if program is None:
            missing("rclone", REMEDY)
        for _ in range(5):  # a port may be taken between finding it free and binding it
            if self._start(str(program)):
                return
        raise RuntimeError(f"rclone did not start:\n{self._server.tail()}")

    def _start(self, program: str) -> bool:
        (port,) = free_ports(1)
        folder = short_folder("rclone")
        (folder / "data" / BUCKET).mkdir(parents=True)
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [program, "serve", "s3", str(folder / "data"), f"--addr=127.0.0.1:{port}"]
        command += [f"--auth-key={ACCESS_KEY},{SECRET_KEY}", f"--config={folder / 'rclone.conf'}"]
        self._server = Server(command, folder, environment={"HOME": str(folder)})
        return self._server.wait_until(self._answers, 60)

    def environment(self) -> dict[str, str]:
        """Return the variables by which boto3 and s3fs find this server with no arguments."""
        return environment(self.endpoint)

    def stop(self) -> None:
        self._server.stop()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"{self.endpoint}/", timeout=2).close()
        except urllib.error.HTTPError as refused:
            refused.close()  # for want of a signature, but it answers
        except OSError:
            return False
        return True
