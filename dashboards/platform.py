"""Dashboard Platform: the services and hosts that the pipeline runs on."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards import kit

_REAL = 'fstype!~"tmpfs|ramfs|squashfs|iso9660"'
_RATE = "[$__rate_interval]"
_SMALL = (8, 7)


def _now(board: Dashboard) -> Dashboard:
    zero = ((None, "green"), (1, "red"))
    return (
        board.with_row(Row("Maintenant / Now"))
        .with_panel(
            kit.figure(
                "Services arrêtés / Services down",
                "systemd units of the system that are not active, timers' tasks left out.",
                kit.prom('sum(node_systemd_unit_state{state="active", type!="oneshot"} == bool 0)'),
                unit="none",
                limits=zero,
            )
        )
        .with_panel(
            kit.figure(
                "Cibles muettes / Targets silent",
                "Exporters and services that Prometheus does not reach.",
                kit.prom("sum(up == bool 0)"),
                unit="none",
                limits=zero,
            )
        )
        .with_panel(
            kit.figure(
                "Alertes / Alerts firing",
                "Alerts of Prometheus that fire now; Alertmanager sends them.",
                kit.prom('count(ALERTS{alertstate="firing"}) or vector(0)'),
                unit="none",
                limits=zero,
            )
        )
        .with_panel(
            kit.figure(
                "Dernière sauvegarde / Last backup",
                "Age of the database's newest good backup; the alert BackupTooOld comes at 26 h.",
                kit.prom("max(min by (host) (pgbackrest_backup_since_last_completion_seconds))"),
                unit="s",
                limits=((None, "green"), (26 * 3600, "red")),
            )
        )
    )


def _hosts(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Machines / Hosts"))
        .with_panel(
            kit.lines(
                "Processeur / Processor",
                "Share of all cores in use on each host.",
                kit.prom(
                    f'1 - avg by (host) (rate(node_cpu_seconds_total{{mode="idle"}}{_RATE}))',
                    "{{host}}",
                ),
                unit="percentunit",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Mémoire / Memory",
                "Share of the memory of each host that is not available to programs.",
                kit.prom(
                    "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{host}}"
                ),
                unit="percentunit",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.bars(
                "Disques / Disks",
                "Share of each file system in use; the alert DiskFull comes at 90 %.",
                kit.prom(
                    f"1 - node_filesystem_avail_bytes{{{_REAL}}} / node_filesystem_size_bytes",
                    "{{host}} {{mountpoint}}",
                ),
                unit="percentunit",
                size=_SMALL,
                limits=((None, "green"), (0.8, "orange"), (0.9, "red")),
                most=1,
            )
        )
        .with_panel(
            kit.lines(
                "Réseau / Network",
                "Bytes per second that each host receives, its loopback left out.",
                kit.prom(
                    "sum by (host) "
                    f'(rate(node_network_receive_bytes_total{{device!="lo"}}{_RATE}))',
                    "{{host}}",
                ),
                unit="Bps",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Charge / Load",
                "Processes that run or wait on each host, mean of a minute.",
                kit.prom("node_load1", "{{host}}"),
                unit="short",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Écritures / Disk writes",
                "Bytes per second written to the disks of each host.",
                kit.prom(f"sum by (host) (rate(node_disk_written_bytes_total{_RATE}))", "{{host}}"),
                unit="Bps",
                size=_SMALL,
            )
        )
    )


def _kafka(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Kafka"))
        .with_panel(
            kit.lines(
                "Messages",
                "Records per second that the brokers take, by topic.",
                kit.prom(
                    "sum by (topic) "
                    f"(rate(kafka_server_brokertopicmetrics_topic_messagesin_total{_RATE}))",
                    "{{topic}}",
                ),
                unit="cps",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Taille / Size",
                "Bytes of the topics' partitions on all brokers.",
                kit.prom("sum by (topic) (kafka_log_size)", "{{topic}}"),
                unit="bytes",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Partitions en défaut / Partitions unwell",
                "Partitions with fewer copies than they should have, and partitions without a "
                "leader. To be nothing.",
                kit.prom(
                    "sum(kafka_server_replicamanager_underreplicatedpartitions)",
                    "under-replicated",
                ),
                kit.prom("max(kafka_controller_kafkacontroller_offlinepartitionscount)", "offline"),
                unit="none",
                size=_SMALL,
            )
        )
    )


def _spark(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Spark"))
        .with_panel(
            kit.figure(
                "Workers",
                "Workers that the Spark master has.",
                kit.prom("sum(metrics_master_aliveWorkers_Value)"),
                unit="none",
                size=(4, 7),
                limits=((None, "red"), (1, "green")),
            )
        )
        .with_panel(
            kit.figure(
                "Applications",
                "Applications that the Spark master runs; the streaming job is one.",
                kit.prom("sum(metrics_master_apps_Value)"),
                unit="none",
                size=(4, 7),
                limits=((None, "red"), (1, "green")),
            )
        )
        .with_panel(
            kit.lines(
                "Cœurs / Cores",
                "Cores that each worker gave to executors, and has left.",
                kit.prom("metrics_worker_coresUsed_Value", "{{host}} used"),
                kit.prom("metrics_worker_coresFree_Value", "{{host}} free"),
                unit="none",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Mémoire / Memory",
                "Memory that each worker gave to executors, and has left.",
                kit.prom("metrics_worker_memUsed_MB_Value", "{{host}} used"),
                kit.prom("metrics_worker_memFree_MB_Value", "{{host}} free"),
                unit="mbytes",
                size=_SMALL,
            )
        )
    )


def _stores(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("PostgreSQL"))
        .with_panel(
            kit.lines(
                "Transactions",
                "Transactions per second that each database committed.",
                kit.prom(
                    f'sum by (datname) (rate(pg_stat_database_xact_commit{{datname!=""}}{_RATE}))',
                    "{{datname}}",
                ),
                unit="cps",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Connexions / Connections",
                "Connections to each database.",
                kit.prom("sum by (datname) (pg_stat_activity_count)", "{{datname}}"),
                unit="none",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Taille / Size",
                "Bytes of each database on disk.",
                kit.prom("pg_database_size_bytes", "{{datname}}"),
                unit="bytes",
                size=_SMALL,
            )
        )
        .with_row(Row("MinIO"))
        .with_panel(
            kit.lines(
                "Espace / Capacity",
                "Bytes that the store can hold for objects, and that are free.",
                kit.prom("max(minio_cluster_capacity_usable_total_bytes)", "total"),
                kit.prom("max(minio_cluster_capacity_usable_free_bytes)", "free"),
                unit="bytes",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Requêtes / Requests",
                "Requests per second by S3's name for them.",
                kit.prom(f"sum by (api) (rate(minio_s3_requests_total{_RATE}))", "{{api}}"),
                unit="reqps",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.figure(
                "Santé / Health",
                "1 while the store can write.",
                kit.prom("min(minio_cluster_health_status)"),
                unit="none",
                size=_SMALL,
                limits=((None, "red"), (1, "green")),
            )
        )
    )


def _brokers(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Mosquitto"))
        .with_panel(
            kit.lines(
                "Messages",
                "Messages per second that each gateway's broker hands to its bridge.",
                kit.prom(
                    f"sum by (gateway) (rate(bridge_received_total{_RATE}))",
                    "{{gateway}}",
                ),
                unit="cps",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Perdus / Dropped",
                "Messages per second that a broker dropped, by its own count ($SYS). To be "
                "nothing.",
                kit.prom(
                    f"sum by (gateway) (rate(bridge_broker_dropped_total{_RATE}))", "{{gateway}}"
                ),
                unit="cps",
                size=_SMALL,
            )
        )
        .with_panel(
            kit.lines(
                "Abonnement / Subscription",
                "1 while the bridge is subscribed at its broker.",
                kit.prom("bridge_mqtt_connected", "{{gateway}}"),
                unit="none",
                size=_SMALL,
            )
        )
    )


def build() -> Dashboard:
    """The dashboard."""
    board = kit.board(
        "edge-platform",
        "Platform",
        "Hosts, Kafka, Spark, PostgreSQL, MinIO and Mosquitto.",
        since="now-1h",
        refresh="30s",
    )
    return _brokers(_stores(_spark(_kafka(_hosts(_now(board))))))
