"""S3 and what speaks its protocol, through botocore: bounded memory, and time-outs that hold mid-transfer."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artline.errors import AuthError, MissingExtraError, NotFoundError, StoreUnavailableError, UsageError
from artline.storage.bucket import check_name
from artline.storage.claims import create_by_claim
from artline.storage.retry import Attempts, Patience
from artline.storage.s3_failures import (
    asked_wait,
    error_code,
    error_text,
    final_error,
    kinds_of_failure,
    refused,
)
from artline.storage.transfer import TRICKLE, PartBody, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artline.storage.digest import Buffer

__all__ = ["PART_SIZE", "S3Bucket"]

PART_SIZE = 16 << 20
_SENDERS = 4  # parts of one process on their way at once
_CONNECTIONS = 16
_CONNECT = 10.0
_ABANDONED = 7 * 24 * 3600.0


@dataclass(slots=True)
class _Connection:
    """What a process has open towards the service; a forked child makes its own."""

    process: int
    client: Any
    senders: ThreadPoolExecutor


class S3Bucket:
    """A prefix of an S3 bucket. Credentials, region and endpoint come from where every AWS tool finds them.

    Objects larger than ``part_size`` bytes are sent in parts, a few at a time, straight from the file. Safe
    to share between threads, and usable after a fork.
    """

    def __init__(self, url: str, patience: Patience | None = None, *, part_size: int | None = None) -> None:
        self.url = url.rstrip("/")
        self.staging: Path | None = None
        self._name, _, prefix = self.url.partition("://")[2].partition("/")
        if not self._name:
            raise UsageError(f"'{url}' names no bucket. Write it as s3://bucket/prefix")
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience = patience or Patience()
        self._part_size = part_size or PART_SIZE
        self._open: _Connection | None = None
        self._inherited: list[_Connection] = []
        self._answered = False
        self._conditional: bool | None = None

    def put(self, name: str, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        self._send(name, len(view), lambda start, size: PartBody(size, view=view[start : start + size]))

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        check_name(name)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            self._send(name, size, lambda start, size: PartBody(size, descriptor=descriptor, offset=start))
        finally:
            os.close(descriptor)
        if move:
            path.unlink()

    def create(self, name: str, data: Buffer) -> bool:
        if self.exists(name):
            return False
        if not self._honours_conditions():
            return create_by_claim(self, name, data, self._patience)
        content = bytes(data)
        stored = self._call("put_object", name, expected="412", Body=content, IfNoneMatch="*")
        # It may be this very request that stored it before: its first answer was lost, or it came twice.
        return stored is not None or self.read(name) == content

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            self.size(name)
            return b""
        sink = io.BytesIO()
        self._fetch(name, start, length, sink.write)
        return sink.getvalue()

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        done = 0

        def keep(piece: bytes) -> None:
            nonlocal done
            buffer[done : done + len(piece)] = piece
            done += len(piece)

        if len(buffer) == 0:
            self.size(name)
        else:
            self._fetch(name, start, len(buffer), keep)
        return done

    def size(self, name: str) -> int:
        return int(self._call("head_object", name)["ContentLength"])

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        following: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", prefix, Prefix=self._prefix + prefix, **following)
            for item in page.get("Contents", ()):
                name = item["Key"][len(self._prefix) :]
                if name and not name.endswith("/"):
                    yield name, int(item["Size"])
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, name: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._call("delete_object", name)

    def sweep_staging(self) -> int:
        """Give up uploads in parts that began over a week ago (by the service's clock); return how many."""
        count = 0
        following: dict[str, Any] = {}
        while True:
            try:
                page = self._call("list_multipart_uploads", "", Prefix=self._prefix, **following)
            except StoreUnavailableError as error:
                if "NotImplemented" in error.message:
                    return count
                raise
            now = _date(page)
            for upload in page.get("Uploads", ()):
                if now - upload["Initiated"].timestamp() > _ABANDONED:
                    name = upload["Key"][len(self._prefix) :]
                    self._call("abort_multipart_upload", name, expected="404", UploadId=upload["UploadId"])
                    count += 1
            if not page.get("IsTruncated"):
                return count
            following = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    # Sending

    def _send(self, name: str, size: int, body: Callable[[int, int], PartBody]) -> None:
        if size <= self._part_size:
            self._call("put_object", name, Body=body(0, size), ContentLength=size)
            return
        attempts = self._attempts()
        while not self._send_parts(name, size, body):
            # Completing was answered by "no such upload": the answer to an earlier try was lost, or the
            # service dropped the upload.
            if self._holds(name, size, body):
                return
            if not attempts.again():
                raise self._away(name, attempts, "the service lost the upload")

    def _send_parts(self, name: str, size: int, body: Callable[[int, int], PartBody]) -> bool:
        """Send an object in parts; False when the service does not know the upload any more."""
        upload = {"UploadId": self._call("create_multipart_upload", name)["UploadId"]}

        def send(number: int) -> dict[str, Any]:
            start = (number - 1) * self._part_size
            part = body(start, min(self._part_size, size - start))
            answer = self._call(
                "upload_part", name, Body=part, ContentLength=len(part), PartNumber=number, **upload
            )
            return {"PartNumber": number, "ETag": answer["ETag"]}

        senders = self._connection().senders
        tasks = [senders.submit(send, number + 1) for number in range(-(-size // self._part_size))]
        try:
            parts = {"Parts": [task.result() for task in tasks]}
            done = self._call(
                "complete_multipart_upload", name, expected="NoSuchUpload", MultipartUpload=parts, **upload
            )
        except BaseException:
            for task in tasks:
                task.cancel()
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # none may still send, or read from the file, afterwards
            with contextlib.suppress(StoreUnavailableError, NotFoundError, AuthError):
                brief = Attempts(Patience(self._patience.timeout, 1e-3))
                self._call("abort_multipart_upload", name, brief, expected="NoSuchUpload", **upload)
            raise
        return done is not None

    def _holds(self, name: str, size: int, body: Callable[[int, int], PartBody]) -> bool:
        """Tell whether an object is there and is what was to be sent, by reading it."""
        position, same = 0, True

        def compare(piece: bytes) -> None:
            nonlocal position, same
            same = same and body(position, len(piece)).read() == piece
            position += len(piece)

        try:
            if self.size(name) != size:
                return False
            self._fetch(name, 0, size, compare)
        except NotFoundError:
            return False
        return same and position == size

    def _honours_conditions(self) -> bool:
        """Tell whether the service refuses to replace an object when asked to, by trying it once."""
        if self._conditional is None:
            probe = f"tmp/probe-{uuid.uuid4().hex}"
            try:
                for _ in range(2):  # the second one must be refused
                    answer = self._call("put_object", probe, expected="412", Body=b"", IfNoneMatch="*")
                self._conditional = answer is None
            except StoreUnavailableError as error:
                if "NotImplemented" not in error.message:
                    raise
                self._conditional = False
            finally:
                with contextlib.suppress(StoreUnavailableError, AuthError):
                    self.delete(probe)
        return self._conditional

    # Receiving

    def _fetch(self, name: str, start: int, length: int | None, sink: Callable[[bytes], object]) -> None:
        """Hand an object's bytes on as they come. What stalls or ends early is asked for again from there."""
        attempts = self._attempts()
        transfer = Transfer(start, None if length is None else start + length, sink)
        while transfer.end is None or transfer.position < transfer.end:
            before = transfer.position
            try:
                parameters = {"Bucket": self._name, "Key": self._key(name)}
                if transfer.range:
                    parameters["Range"] = transfer.range
                answer = self._connection().client.get_object(**parameters)
                self._answered = True
                transfer.run(answer, self._patience.timeout)
            except kinds_of_failure() as error:
                if error_code(error)[0] in ("InvalidRange", "416"):  # it starts at or after the end
                    return
                if transfer.position - before >= TRICKLE:
                    attempts.progressed()
                self._settle(error, name, attempts)

    # Talking

    def _call(
        self,
        operation: str,
        name: str,
        attempts: Attempts | None = None,
        *,
        expected: str = "",
        **parameters: Any,
    ) -> Any:
        """Send a request, again and again where that may help; None for the failure that is ``expected``."""
        if "Prefix" not in parameters:
            parameters["Key"] = self._key(name)
        attempts = attempts or self._attempts()
        while True:
            try:
                body = parameters.get("Body")
                if isinstance(body, PartBody):
                    body.seek(0)
                answer = getattr(self._connection().client, operation)(Bucket=self._name, **parameters)
            except kinds_of_failure() as error:
                if expected and expected in map(str, error_code(error)):
                    self._answered = True
                    return None
                self._settle(error, name, attempts)
            else:
                self._answered = True
                return answer

    def _settle(self, error: Exception, name: str, attempts: Attempts) -> None:
        """Wait for the next try, or raise what the failure means for the caller."""
        if error_code(error)[1]:
            self._answered = True
        if (final := final_error(error, name, self.url)) is not None:
            raise final from error
        if not attempts.again(asked_wait(error)):
            raise self._away(name, attempts, error_text(error)) from error

    def _away(self, name: str, attempts: Attempts, text: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the bucket {self.url} is out of reach: '{name}' failed {attempts.failures} times in "
            f"{attempts.elapsed:.0f} s, at last with: {text}. Check the network and AWS_ENDPOINT_URL, or "
            "wait longer with ART_BUCKET_RETRY"
        )

    def _attempts(self) -> Attempts:
        return Attempts(self._patience, known=self._answered)

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _connection(self) -> _Connection:
        opened = self._open
        if opened is None or opened.process != os.getpid():
            if opened is not None:
                # A forked child connects anew. The parent's connections are kept: they are not ours to close.
                self._inherited.append(opened)
            opened = self._open = self._connect()
        return opened

    def _connect(self) -> _Connection:
        try:
            import botocore.exceptions as kinds
            import botocore.session
            from botocore.config import Config
        except ImportError as error:
            raise MissingExtraError(
                f"the bucket {self.url} needs artline[s3]. Install it: pip install 'artline[s3]'"
            ) from error
        timeout = self._patience.timeout
        config = Config(
            signature_version="s3v4",
            connect_timeout=min(_CONNECT, timeout),
            read_timeout=timeout,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
            retries={"total_max_attempts": 1},  # how often and how long is decided here
            # Bodies are signed, so that every service notices one that was altered on the way; what comes
            # back is checked against digests. Newer checksums are not understood everywhere.
            s3={"payload_signing_enabled": True},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            session = botocore.session.get_session()
            session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
            client = session.create_client("s3", config=config)
        except kinds.BotoCoreError as error:
            raise refused(self.url, error) from error
        except ValueError as error:
            raise UsageError(
                f"cannot open the bucket '{self.url}': {error}. Check AWS_ENDPOINT_URL"
            ) from error
        opened = _Connection(os.getpid(), client, ThreadPoolExecutor(_SENDERS, "artline-s3-send"))
        weakref.finalize(self, _close, opened)
        return opened


@functools.cache
def _loader(search_path: str | None) -> Any:
    """Return what reads and keeps the descriptions of services: reading them again costs 0.1 s."""
    import botocore.loaders

    return botocore.loaders.create_loader(search_path)


def _close(opened: _Connection) -> None:
    if opened.process == os.getpid():
        opened.senders.shutdown(wait=False)
        opened.client.close()


def _date(answer: dict[str, Any]) -> float:
    """Return the time of an answer by the service's own clock, in seconds since 1970."""
    from email.utils import parsedate_to_datetime

    stamp = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(stamp).timestamp() if stamp else 0.0
