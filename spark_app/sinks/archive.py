"""Archive readings in S3: one Parquet object per batch and Kafka partition."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from spark_app.schema import READING_COLUMNS, SCHEMA_VERSION
from spark_app.sinks.archived import ROOT, Archive
from spark_app.sinks.outcome import Fault, Outcome, SinkFaultError, require

PACKAGE = "boto3"

_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"})
_TAKEN_BY_US = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})

# Clients outlive a batch: a Python worker serves many.
_clients: dict["ObjectStore", Any] = {}


@dataclass(frozen=True)
class ObjectStore:
    """How to reach the bucket.

    Attributes:
        authority: file with the authorities that vouch for an https endpoint; empty: the system's.
    """

    endpoint: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str
    authority: str = ""

    @property
    def name(self) -> str:
        """Return the store's name for people."""
        return f"S3 {self.endpoint}, bucket {self.bucket}"

    def client(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return this process's client.

        Raises:
            SinkFaultError: boto3 is missing.
        """
        if self not in _clients:
            session = require("boto3", PACKAGE).session.Session()
            config = require("botocore.config", PACKAGE).Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"},
                # Newer default checksums are refused by some S3 stores.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            _clients[self] = session.client(
                "s3",
                endpoint_url=self.endpoint,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name=self.region,
                config=config,
                verify=self.authority or None,
            )
        return _clients[self]

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there.

        Raises:
            SinkFaultError: the store cannot be reached, or refuses us.
        """
        client = self.client()
        exceptions = require("botocore.exceptions", PACKAGE)
        try:
            client.head_bucket(Bucket=self.bucket)
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
                raise SinkFaultError(self.fault(error)) from error
            self._create_bucket()
        except exceptions.BotoCoreError as error:
            raise SinkFaultError(self.fault(error)) from error

    def _create_bucket(self) -> None:
        exceptions = require("botocore.exceptions", PACKAGE)
        try:
            self.client().create_bucket(Bucket=self.bucket)
        except (exceptions.ClientError, exceptions.BotoCoreError) as error:
            response = getattr(error, "response", {"Error": {"Code": ""}})
            if response["Error"]["Code"] not in _TAKEN_BY_US:
                raise SinkFaultError(self.fault(error)) from error

    def names(self, prefix: str, start_after: str = "") -> Iterator[str]:
        """Yield the names of objects in alphabetical order.

        Raises:
            SinkFaultError: the store cannot be reached, or refuses us.
        """
        pages = self.client().get_paginator("list_objects_v2")
        with self._faults():
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, StartAfter=start_after):
                for item in page.get("Contents", []):
                    yield item["Key"]

    def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            SinkFaultError: it cannot be read.
        """
        with self._faults():
            answer = self.client().get_object(Bucket=self.bucket, Key=name)
            return bytes(answer["Body"].read())

    def put(self, key: str, body: bytes) -> None:
        """Write an object, over one of the same key if there is one.

        Raises:
            SinkFaultError: it was not written.
        """
        with self._faults():
            self.client().put_object(Bucket=self.bucket, Key=key, Body=body)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        exceptions = require("botocore.exceptions", PACKAGE)
        try:
            yield
        except (exceptions.ClientError, exceptions.BotoCoreError) as error:
            raise SinkFaultError(self.fault(error)) from error

    def fault(self, error: Exception) -> Fault:
        """Put boto3's error into one line."""
        code = getattr(error, "response", {"Error": {}})["Error"].get("Code", "")
        text = " ".join(str(error).split())
        if code in _CREDENTIALS or code == "403":
            text = f"refuses the credentials (JOB_S3_ACCESS_KEY, JOB_S3_SECRET_KEY): {text}"
        return Fault("unavailable", f"{self.name}: {text}")


@dataclass(frozen=True)
class ArchiveWriter:
    """Writes a partition of readings (READING_COLUMNS and CONTROL_COLUMNS)."""

    store: ObjectStore

    def __call__(self, table: pa.Table) -> Outcome:
        """Write one object for each Kafka partition in the table, of its accepted rows.

        Raises:
            SinkFaultError: boto3 is missing or the store cannot take the object now.
        """
        outcome = Outcome(
            rows_in=table.num_rows, payload_bytes=pc.sum(table["payload_bytes"]).as_py()
        )
        for partition in pc.unique(table["kafka_partition"]):
            records = table.filter(pc.equal(table["kafka_partition"], partition))
            accepted = records.filter(pc.is_null(records["reason"]))
            name = object_key(records)
            readings = Archive(self.store).without_repeats(accepted, name)
            outcome.rejected += records.num_rows - accepted.num_rows
            outcome.duplicate += accepted.num_rows - readings.num_rows
            if readings.num_rows:
                self.store.put(name, parquet_bytes(readings.select(READING_COLUMNS)))
                outcome.stored += readings.num_rows
                outcome.objects += 1
        outcome.committed_ns = time.time_ns()
        return outcome


def object_key(records: pa.Table) -> str:
    """Return the key for all records of one Kafka partition in a batch, refused ones included.

    It depends on nothing but the batch's offsets, which Spark fixes before the batch runs: the
    same batch run again writes the same object.
    """
    first = records.take(
        [pc.index(records["kafka_offset"], pc.min(records["kafka_offset"])).as_py()]
    )
    appended = first["appended_at"][0].as_py()
    partition = first["kafka_partition"][0].as_py()
    low = first["kafka_offset"][0].as_py()
    high = pc.max(records["kafka_offset"]).as_py()
    topic = first["kafka_topic"][0].as_py()
    return (
        f"{ROOT}date={appended:%Y-%m-%d}/hour={appended:%H}/"
        f"{topic}-{partition}-{low}-{high}.parquet"
    )


def parquet_bytes(readings: pa.Table) -> bytes:
    """Return the readings as one Parquet file, its schema's version in the metadata."""
    target = io.BytesIO()
    parquet.write_table(
        readings.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)}),
        target,
        compression="zstd",
    )
    return target.getvalue()
