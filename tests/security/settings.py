"""Safety settings, each with the cheapest test that has to fail without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """A piece of a file that keeps something safe.

    Attributes:
        path: the file.
        safe: what stands there, once.
        unsafe: what takes its place.
        test: what pytest is to run; with a role, its `-k` expression in the role's scenario.
        role: whose scenario it takes; empty for a test without hosts.
        anew: only new hosts show it: what was set on one is not taken back.
    """

    path: str
    safe: str
    unsafe: str
    test: str
    role: str = ""
    anew: bool = False

    def __str__(self) -> str:
        """Tell which it is."""
        return f"{self.path}: {' '.join(self.safe.split())[:70]}"


FORWARDER = "tests/unit/bridge/test_forwarder.py"
KAFKA = "roles/kafka/templates/server.properties.j2"
HBA = "roles/timescaledb/templates/pg_hba.conf.j2"
DATABASE = "roles/timescaledb/vars/main.yml"
MINIO = "roles/minio/library/minio_user.py"
SPARK = "roles/spark/vars/main.yml"
SANDBOX = "roles/systemd_service/vars/main.yml"

WITHOUT_HOSTS = (
    Setting("bridge/forwarder.py", '"acks": "all"', '"acks": "1"', FORWARDER),
    Setting("bridge/forwarder.py", '"enable.idempotence": True', '"linger.ms": 5', FORWARDER),
    Setting("bridge/forwarder.py", '"message.timeout.ms": 0', '"linger.ms": 5', FORWARDER),
    Setting(
        "bridge/window.py",
        "while self._pending and self._pending[0].settled",
        "while self._pending",
        "tests/unit/bridge/test_window.py",
    ),
    Setting(
        "bridge/spool_file.py",
        "PRAGMA synchronous = FULL;",
        "PRAGMA synchronous = OFF;",
        "tests/unit/bridge/test_spool.py",
    ),
    Setting(
        "telemetry/settings.py",
        '"(hidden)" if _is_secret(name) else repr(text)',
        "repr(text)",
        "tests/unit/telemetry/test_telemetry_settings.py",
    ),
    Setting(
        "spark_app/sinks/archive.py",
        "secret_key: str = field(repr=False)",
        "secret_key: str",
        "tests/unit/spark_app/test_archive.py",
    ),
    Setting(
        "spark_app/sinks/timescaledb.py",
        "password: str = field(repr=False)",
        "password: str",
        "tests/unit/spark_app/test_addresses.py",
    ),
    Setting(
        "spark_app/sinks/timescaledb.py",
        '"sslmode": "verify-full"',
        '"sslmode": "require"',
        "tests/unit/spark_app/test_addresses.py",
    ),
    Setting(
        "telemetry/kafka.py",
        '"ssl.endpoint.identification.algorithm": "https"',
        '"ssl.endpoint.identification.algorithm": "none"',
        "tests/unit/spark_app/test_addresses.py",
    ),
    Setting(
        "roles/artifact/files/fetch.py",
        "if found != expected:",
        "if not expected:",
        "tests/repo/test_artifacts.py",
    ),
    Setting(
        "roles/grafana/tasks/package.yml",
        '    checksum: "sha256:{{ grafana_package_sha256 }}"\n',
        "",
        "tests/repo/test_supply_chain.py",
    ),
    Setting(
        "tools/bootstrap.sh",
        "--require-hashes -r requirements/dev.txt",
        "-r requirements/dev.txt",
        "tests/repo/test_supply_chain.py",
    ),
    Setting(
        "roles/minio/meta/argument_specs.yml",
        "no_log: true\n        description: Password of the administrator",
        "description: Password of the administrator",
        "tests/repo/test_roles.py",
    ),
)

OF_ROLES = (
    Setting(KAFKA, "'ssl.client.auth': 'required'", "'ssl.client.auth': 'none'", "access", "kafka"),
    Setting(
        KAFKA,
        "'allow.everyone.if.no.acl.found': 'false'",
        "'allow.everyone.if.no.acl.found': 'true'",
        "nothing_else",
        "kafka",
    ),
    Setting(
        KAFKA,
        "'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',",
        "",
        "access",
        "kafka",
    ),
    Setting(KAFKA, "$/$1/'", "$/$1/,DEFAULT'", "another_form", "kafka"),
    Setting(KAFKA, "'127.0.0.1' if alone", "'0.0.0.0' if alone", "loopback", "kafka"),
    Setting(
        KAFKA,
        "'auto.create.topics.enable': 'false'",
        "'auto.create.topics.enable': 'true'",
        "unknown_topic",
        "kafka",
    ),
    Setting(
        "roles/kafka/defaults/main.yml",
        "      message.timestamp.type: LogAppendTime\n      max.message.bytes: 4194304",
        "      max.message.bytes: 4194304",
        "contract",
        "kafka",
    ),
    Setting(
        HBA,
        "'hostssl' if timescaledb_tls_certificate",
        "'host' if true",
        "without_tls",
        "timescaledb",
    ),
    Setting(
        HBA,
        "local  {{ timescaledb_database }}  {{ timescaledb_user }}  peer map=local_admin",
        "local  {{ timescaledb_database }}  {{ timescaledb_user }}  trust",
        "kept_out",
        "timescaledb",
    ),
    Setting(HBA, "scram-sha-256", "trust", "wrong_password", "timescaledb"),
    Setting(
        DATABASE,
        "'SELECT,INSERT,UPDATE'",
        "'SELECT,INSERT,UPDATE,DELETE'",
        "writers",
        "timescaledb",
    ),
    Setting(
        DATABASE,
        "'privileges': 'SELECT',",
        "'privileges': 'SELECT,DELETE',",
        "nothing_else",
        "timescaledb",
    ),
    Setting(
        DATABASE, 'synchronous_commit: "on"', 'synchronous_commit: "off"', "settings", "timescaledb"
    ),
    Setting(
        "roles/timescaledb/tasks/clients.yml",
        'statement_timeout: "{{ timescaledb_client.timeout | default(30) }}s"',
        'statement_timeout: "0"',
        "long_query",
        "timescaledb",
    ),
    Setting(
        MINIO,
        '"s3:PutObject"]',
        '"s3:PutObject", "s3:DeleteObject"]',
        "takes_nothing_away",
        "minio",
    ),
    Setting(
        "roles/minio/tasks/service.yml",
        "{{ '--certs-dir ' ~ minio_certificates if minio_tls_certificate else '' }}",
        "",
        "without_tls",
        "minio",
    ),
    Setting(
        MINIO,
        "READ_ACTIONS if self.read_only else",
        "WRITE_ACTIONS if self.read_only else",
        "readers",
        "minio",
    ),
    Setting(
        "roles/minio/tasks/buckets.yml",
        "versioning: true",
        "versioning: false",
        "takes_nothing_away",
        "minio",
        anew=True,
    ),
    Setting(
        SPARK, 'spark.authenticate: "true"', 'spark.authenticate: "false"', "stranger", "spark"
    ),
    Setting(
        "roles/spark/tasks/configure.yml", 'mode: "0640"', 'mode: "0644"', "secret_is_not", "spark"
    ),
    Setting(
        SANDBOX, "ProtectSystem: strict", "ProtectSystem: false", "confined", "systemd_service"
    ),
    # It also brings what NoNewPrivileges says, which alone changes nothing.
    Setting(
        SANDBOX,
        'SystemCallFilter: ["", "@system-service", "~@privileged @resources"]',
        "SystemCallFilter: []",
        "confined",
        "systemd_service",
    ),
    Setting(
        "roles/systemd_service/tasks/main.yml",
        'mode: "0600"',
        'mode: "0644"',
        "root_alone",
        "systemd_service",
    ),
    Setting(
        "roles/firewall/templates/firewall.nft.j2",
        "policy drop;",
        "policy accept;",
        "strangers",
        "firewall",
    ),
    Setting(
        "roles/base/templates/sshd.conf.j2",
        "PasswordAuthentication no",
        "PasswordAuthentication yes",
        "keys_alone",
        "base",
    ),
)

SETTINGS = WITHOUT_HOSTS + OF_ROLES
