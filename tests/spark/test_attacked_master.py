"""The attempts at Spark's master show what they should, with this version of Spark."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.security import spark_master
from tests.security.doors import Outcome, Unclear
from tools.hops import System

SECRET = "for-this-test-alone"  # noqa: S105 - it is no other's
# As roles/spark/vars/main.yml has it.
AUTHENTICATION = {
    "spark.authenticate": "true",
    "spark.authenticate.secret": SECRET,
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    "spark.network.crypto.saslFallback": "false",
}
IS_SERVER = (False,)
Asks = Callable[[bytes], Outcome]


@contextmanager
def served(spark: SparkSession, settings: dict[str, str]) -> Iterator[Asks]:
    """What listens in each of Spark's programs, alone."""
    jvm = spark.sparkContext._jvm  # noqa: SLF001 - there is no other way to it
    assert jvm
    conf = jvm.org.apache.spark.SparkConf(False)  # noqa: FBT003 - so it is called
    for name, value in settings.items():
        conf.set(name, value)
    manager = jvm.org.apache.spark.SecurityManager
    defaults = (getattr(manager, f"$lessinit$greater$default${n}")() for n in (2, 3))
    environment = jvm.org.apache.spark.rpc.RpcEnv.create(
        "attacked", "127.0.0.1", 0, conf, manager(conf, *defaults), *IS_SERVER
    )
    system = System("", "127.0.0.1", "", Path())
    try:
        port = environment.address().port()
        yield lambda message: spark_master.asks(system, message, port)
    finally:
        environment.shutdown()
        environment.awaitTermination()


def test_who_has_the_secret_gets_in_and_nobody_else(spark: SparkSession) -> None:
    with served(spark, AUTHENTICATION) as asks:
        assert asks(spark_master.proof(SECRET)).admitted
        assert not asks(spark_master.proof("guessed")).admitted
        assert not asks(spark_master.message_to_verifier()).admitted
        assert not asks(spark_master.sasl()).admitted


def test_without_authentication_anybody_does(spark: SparkSession) -> None:
    with served(spark, {}) as asks:
        assert asks(spark_master.message_to_verifier()).admitted
        with pytest.raises(Unclear):
            asks(spark_master.proof("guessed"))


def test_with_the_older_proof_sasl_gets_an_answer(spark: SparkSession) -> None:
    with served(spark, AUTHENTICATION | {"spark.network.crypto.saslFallback": "true"}) as asks:
        assert asks(spark_master.sasl()).admitted
