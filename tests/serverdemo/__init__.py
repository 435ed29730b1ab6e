"""The digits demo through two replicas of a server, over PostgreSQL and S3: what `make server-demo` runs."""
