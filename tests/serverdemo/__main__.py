"""Start SeaweedFS, PostgreSQL and two replicas; run the demo from one client, look at it from another."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from services.artline_server import ArtlineServer, Login
from services.postgres import Postgres
from services.seaweed import BUCKET, Seaweed

from artline.server.directory import Role

CHECKOUT = Path(__file__).parents[2]


def main() -> None:
    """Run it; end with 1 when the two clients do not see the same."""
    with tempfile.TemporaryDirectory(prefix="server-demo-") as scratch:
        postgres, seaweed = Postgres(), Seaweed()
        servers: list[ArtlineServer] = []
        try:
            catalog, bucket = postgres.url(postgres.create()), f"s3://{BUCKET}/demo"
            for number in (1, 2):
                server = ArtlineServer(catalog=catalog, bucket=bucket, environment=seaweed.environment())
                servers.append(server)
                print(f"replica {number} of the server: {server.url}")
            first, second = servers
            first.directory.create_team("vision")
            ada, grace = first.login("vision", Role.WRITE), first.login("vision", Role.READ)
            one, two = client(scratch, "ada", first, ada), client(scratch, "grace", second, grace)
            print("\nAda trains, through replica 1", flush=True)
            subprocess.run([sys.executable, str(CHECKOUT / "examples" / "digits.py")], env=one, check=True)
            seen = [art(environment, "lineage", "digits-mlp:production") for environment in (one, two)]
            print("\nGrace looks, through replica 2\n")
            print(seen[1])
            model = Path(scratch) / "model"
            print(art(two, "pull", "digits-mlp:production", str(model)))
            print(art(two, "verify", "digits-mlp:production", str(model)))
            if seen[0] != seen[1]:
                sys.exit(f"the two clients do not see the same lineage. Ada sees:\n{seen[0]}")
            print("Both see the same lineage, and Grace has Ada's model.")
        finally:
            for server in servers:
                server.close()
            seaweed.stop()
            postgres.stop()


def client(scratch: str, name: str, server: ArtlineServer, login: Login) -> dict[str, str]:
    """Return the environment of somebody on a machine of their own."""
    home = Path(scratch) / name
    home.mkdir()
    foreign = {key: value for key, value in os.environ.items() if not key.startswith(("ART_", "AWS_"))}
    return {
        **foreign,
        "HOME": str(home),
        "ART_HOME": str(home / "artline"),
        "ART_SERVER": server.url,
        "ART_API_KEY": login.key,
        "ART_ENTITY": login.team,
        "ART_PROJECT": "digits",
    }


def art(environment: dict[str, str], *arguments: str) -> str:
    """Run a command as somebody; return what it prints."""
    command = [sys.executable, "-m", "artline", *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.rstrip()


if __name__ == "__main__":
    main()
