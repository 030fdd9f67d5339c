"""Dashboard Fleet: the gateways, and what may fail on them next."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards import kit

# The index leads from one gateway to the next, so that years of figures cost no scan.
_KNOWN = """
WITH RECURSIVE known (gateway) AS (
    SELECT min(k.gateway) FROM pipeline_kpi_1m AS k
    WHERE k.metric_name = 'gateway_clock_offset' AND k.time > now() - INTERVAL '30 days'
    UNION ALL
    SELECT (
        SELECT min(k.gateway) FROM pipeline_kpi_1m AS k
        WHERE
            k.metric_name = 'gateway_clock_offset'
            AND k.gateway > known.gateway
            AND k.time > now() - INTERVAL '30 days'
    )
    FROM known
    WHERE known.gateway IS NOT NULL
)
"""
_NAMES = f"{_KNOWN}SELECT gateway FROM known WHERE gateway IS NOT NULL ORDER BY 1"
_TABLE = f"""
{_KNOWN}
SELECT
    known.gateway,
    newest.time AS "last seen",
    extract(EPOCH FROM now() - newest.time) AS age,
    newest.sum_ms / newest.samples AS "clock offset",
    error.sum_ms / error.samples AS "clock error"
FROM known
CROSS JOIN LATERAL (
    SELECT k.time, k.sum_ms, k.samples FROM pipeline_kpi_1m AS k
    WHERE
        k.metric_name = 'gateway_clock_offset'
        AND k.gateway = known.gateway
        AND k.time > now() - INTERVAL '30 days'
    ORDER BY k.time DESC
    LIMIT 1
) AS newest
LEFT JOIN pipeline_kpi_1m AS error
    ON
        error.metric_name = 'gateway_clock_error'
        AND error.gateway = known.gateway
        AND error.time = newest.time
WHERE known.gateway IN (${{gateway:sqlstring}})
ORDER BY age DESC
"""
_HERE = 'gateway=~"${gateway:regex}"'
_DISKS = 'device=~"mmcblk[0-9]+|sd[a-z]+|vd[a-z]+|nvme[0-9]+n[0-9]+"'
_REAL = 'fstype!~"tmpfs|ramfs|squashfs|iso9660"'
_YEAR = 365 * 86400


def build() -> Dashboard:
    """The dashboard."""
    wear = f"sum by (gateway) (rate(node_disk_written_bytes_total{{{_HERE}, {_DISKS}}}[1d]))"
    return (
        kit.board(
            "edge-fleet",
            "Fleet",
            "The gateways: version, last seen, clock, disk, wear of the SD card, certificates.",
            since="now-24h",
            refresh="1m",
        )
        .with_variable(
            kit.choice(
                "gateway",
                "Passerelle / Gateway",
                "Gateways that sent in the last 30 days. Metrics carry the same names as the "
                "label gateway.",
                _NAMES,
            )
        )
        .with_variable(
            kit.option(
                "endurance",
                "SD card bears",
                "Bytes that an SD card bears before it wears out, as its maker says (TBW).",
                [(f"{size} TB", f"{size}e12") for size in (10, 5, 30, 60, 150)],
            )
        )
        .with_row(Row("Passerelles / Gateways"))
        .with_panel(
            kit.coloured(
                kit.listing(
                    "Dernier contact / Last seen",
                    "Begin of the minute in which each gateway's newest reading was committed, and "
                    "its clock then: how far from true time, and how sure that is. Gateways of the "
                    "last 30 days; the most silent first.",
                    kit.rows(_TABLE),
                    units={"age": "s", "clock offset": "ms", "clock error": "ms"},
                    size=(16, 10),
                ),
                "age",
                (None, "green"),
                (600, "orange"),
                (3600, "red"),
            )
        )
        .with_panel(
            kit.only(
                kit.listing(
                    "Versions",
                    "Version of the bridge that each gateway runs.",
                    kit.newest(f"max by (gateway, version) (bridge_build_info{{{_HERE}}})"),
                    size=(8, 10),
                ),
                "gateway",
                "version",
            )
        )
        .with_panel(
            kit.lines(
                "Écart d'horloge / Clock offset",
                "Clock of each gateway minus its time servers' time, as its chrony has it.",
                kit.prom(f"edge_clock_offset_seconds{{{_HERE}}}", "{{gateway}}"),
                unit="s",
                least=None,
            )
        )
        .with_panel(
            kit.bars(
                "Certificats / Certificates",
                "Days until the first certificate of each service ends. They are renewed in a "
                "window before it; the alert CertificateExpires comes when that did not happen.",
                kit.prom(
                    "min by (gateway, service) "
                    f"(edge_certificate_expiry_timestamp_seconds{{{_HERE}}} - time()) / 86400",
                    "{{gateway}} {{service}}",
                ),
                unit="d",
                size=(12, 8),
                limits=((None, "red"), (7, "orange"), (21, "green")),
            )
        )
        .with_row(Row("Disques / Disks"))
        .with_panel(
            kit.bars(
                "Espace utilisé / Disk used",
                "Share of each file system in use.",
                kit.prom(
                    f"1 - node_filesystem_avail_bytes{{{_HERE}, {_REAL}}} "
                    "/ node_filesystem_size_bytes",
                    "{{gateway}} {{mountpoint}}",
                ),
                unit="percentunit",
                limits=((None, "green"), (0.8, "orange"), (0.9, "red")),
                most=1,
            )
        )
        .with_panel(
            kit.lines(
                "Écritures / Bytes written",
                "Bytes per second written to the disks of each gateway.",
                kit.prom(
                    f"sum by (gateway) (rate(node_disk_written_bytes_total{{{_HERE}, {_DISKS}}}"
                    "[$__rate_interval]))",
                    "{{gateway}}",
                ),
                unit="Bps",
                size=(8, 8),
                interval="1m",
            )
        )
        .with_panel(
            kit.bars(
                "Durée de vie de la carte / SD-card life",
                "How long a new card lasts if each day is like the last one: what it bears "
                "(variable above), divided by what was written in the last day. What the card "
                "already bore is not known.",
                kit.prom(f"$endurance / {wear}", "{{gateway}}"),
                unit="s",
                limits=((None, "red"), (2 * _YEAR, "orange"), (5 * _YEAR, "green")),
            )
        )
    )
