"""The S3 bucket: the conformance suite on a service with conditional writes and on one without."""

from __future__ import annotations

import pytest

from artline.storage.s3 import S3Bucket
from artline.testing.buckets import BucketSuite


class TestS3Bucket(BucketSuite):
    @pytest.fixture
    def bucket(self, s3_url: str) -> S3Bucket:
        return S3Bucket(s3_url)


class TestS3WithoutConditions(BucketSuite):
    @pytest.fixture
    def bucket(self, rclone_url: str) -> S3Bucket:
        return S3Bucket(rclone_url)
