"""What the failures of an S3 service mean: for the caller, or that the same request may succeed later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artline.errors import AuthError, NotFoundError, StoreFullError, StoreUnavailableError, UsageError
from artline.storage.retry import TRANSIENT_STATUS

if TYPE_CHECKING:
    from artline.errors import ArtlineError

__all__ = ["asked_wait", "error_code", "error_text", "final_error", "kinds_of_failure", "refused"]

_MISSING = {"NoSuchKey", "NotFound", "404"}
_REFUSED = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthorizationHeaderMalformed",
}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
# A body that was torn or altered on the way is refused with one of the latter: sending it again is right.
_TRANSIENT = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
}


def kinds_of_failure() -> tuple[type[Exception], ...]:
    """Return what requests and the reading of their answers may raise."""
    import botocore.exceptions as kinds
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    return (kinds.BotoCoreError, kinds.ClientError, ResponseParserError, HTTPError, OSError)


def final_error(error: Exception, name: str, url: str) -> ArtlineError | None:
    """Return what a failure means, or None where the same request may succeed later."""
    import botocore.exceptions as kinds

    text = error_text(error)
    code, status = error_code(error)
    if isinstance(error, kinds.ClientError):
        if code == "NoSuchBucket":
            return NotFoundError(f"the bucket of {url} does not exist. Create it first")
        if code in _MISSING:
            return NotFoundError(f"there is no object '{name}' in {url}. Run: art fsck")
        if code in _FULL or status == 507:
            return StoreFullError(
                f"no space left for '{name}' in {url} ({text}). Free some space and try again; what was "
                "stored is safe"
            )
        if code == "RequestTimeTooSkewed":
            return AuthError(f"the bucket {url} refused '{name}': {text}. Set this machine's clock")
        if status in (401, 403) or code in _REFUSED:
            return AuthError(
                f"the bucket {url} refused '{name}': {text}. Check the credentials and their rights"
            )
        if code in _TRANSIENT or status in TRANSIENT_STATUS:
            return None
        return StoreUnavailableError(
            f"the bucket {url} did not do what it was asked with '{name}': {text}. Check that it is an S3 "
            "service, and its version"
        )
    if isinstance(error, (kinds.ParamValidationError, kinds.InvalidEndpointConfigurationError)):
        return UsageError(f"cannot use the bucket {url}: {text}")
    if isinstance(error, kinds.SSLError) and "CERTIFICATE_VERIFY_FAILED" in text:
        return AuthError(
            f"the certificate of {url} is not trusted: {text}. Set AWS_CA_BUNDLE to its authority's"
        )
    passing = (kinds.ConnectionError, kinds.HTTPClientError, kinds.IncompleteReadError)
    if isinstance(error, kinds.BotoCoreError) and not isinstance(error, passing):
        return refused(url, error)
    return None


def refused(url: str, error: Exception) -> ArtlineError:
    """Return the error for what the client library refuses to begin with."""
    text = error_text(error)
    if any(word in text for word in ("redential", "oken", "profile")):
        return AuthError(f"the bucket {url} cannot be used: {text}. Check the credentials")
    return StoreUnavailableError(f"the bucket {url} cannot be used: {text}. Check the settings of AWS tools")


def error_code(error: Exception) -> tuple[str, int]:
    """Return the S3 error code and the HTTP status behind a failure, as far as there are any."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return "", 0
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(response.get("Error", {}).get("Code", "")), int(status)


def asked_wait(error: Exception) -> float:
    """Return the seconds that a service asked to wait before the next try."""
    response = getattr(error, "response", None)
    headers = (
        response.get("ResponseMetadata", {}).get("HTTPHeaders", {}) if isinstance(response, dict) else {}
    )
    try:
        return float(headers.get("retry-after", 0.0))
    except ValueError:
        return 0.0


def error_text(error: Exception) -> str:
    """Return what a failure says, on one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
