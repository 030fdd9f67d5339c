"""Dashboard Capteurs / Sensors: what the devices measure, and which of them are silent."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards import kit

# Devices of the last 30 days stay in the list, so that one that fell silent does not leave it.
_KNOWN = """
FROM sensor_data_1h
WHERE ($__timeFilter(time) OR time > now() - INTERVAL '30 days')
"""
_CHOSEN = """device_id IN (${device:sqlstring})
        AND coalesce(site, '—') IN (${site:sqlstring})
        AND coalesce(room, '—') IN (${room:sqlstring})"""
_LEVEL = """CASE ${level:sqlstring}
        WHEN 'site' THEN coalesce(site, '—')
        WHEN 'room' THEN coalesce(site, '—') || ' / ' || coalesce(room, '—')
        ELSE device_id
    END"""
# From each chosen device's own newest reading, which the primary key finds at once.
_NEWEST = """
    FROM unnest(ARRAY[${device:sqlstring}]) AS d (device_id)
    CROSS JOIN LATERAL (
        SELECT r.time, r.site, r.room, r.gateway, r.temperature, r.humidity, r.quality_flags
        FROM sensor_data AS r
        WHERE
            r.device_id = d.device_id
            AND r.time <= $__timeTo()::timestamptz
            AND r.time > $__timeTo()::timestamptz - INTERVAL '30 days'
        ORDER BY r.time DESC
        LIMIT 1
    ) AS newest
    WHERE
        coalesce(site, '—') IN (${site:sqlstring})
        AND coalesce(room, '—') IN (${room:sqlstring})"""
_OFFLINE = "newest.time < $__timeTo()::timestamptz - ${silent:sqlstring}::interval"


def _measured(quantity: str) -> str:
    """SQL for a quantity over time: readings where the screen shows them, else the roll-ups.

    `$__interval_ms` is a constant to the planner, so that it reads one of the three alone.
    """
    return f"""
SELECT
    $__timeGroup(time, $__interval) AS time,
    {_LEVEL} AS metric,
    sum(value * samples) / sum(samples) AS value
FROM (
    SELECT time, site, room, device_id, {quantity} AS value, 1 AS samples
    FROM sensor_data
    WHERE $__interval_ms < 60000 AND $__timeFilter(time)
    UNION ALL
    SELECT time, site, room, device_id, {quantity}_avg, {quantity}_samples
    FROM sensor_data_1m
    WHERE $__interval_ms >= 60000 AND $__interval_ms < 3600000 AND $__timeFilter(time)
    UNION ALL
    SELECT time, site, room, device_id, {quantity}_avg, {quantity}_samples
    FROM sensor_data_1h
    WHERE $__interval_ms >= 3600000 AND $__timeFilter(time)
) AS readings
WHERE value IS NOT NULL
        AND {_CHOSEN}
GROUP BY 1, 2
ORDER BY 1
"""


def _counted(what: str) -> str:
    """SQL for a figure over the devices' newest readings."""
    return f"SELECT {what} AS devices {_NEWEST}"


_TABLE = f"""
SELECT
    CASE WHEN {_OFFLINE} THEN 'offline' ELSE 'online' END AS state,
    coalesce(site, '—') AS site,
    coalesce(room, '—') AS room,
    d.device_id AS device,
    newest.temperature,
    newest.humidity,
    newest.time AS "last reading",
    extract(EPOCH FROM $__timeTo()::timestamptz - newest.time) AS age,
    array_to_string(newest.quality_flags, ', ') AS flags,
    newest.gateway
{_NEWEST}
ORDER BY age DESC
"""
_RATE = f"""
SELECT
    $__timeGroup(time, $__interval) AS time,
    sum(samples) / ($__interval_ms / 60000.0) AS readings
FROM sensor_data_1m
WHERE $__timeFilter(time)
    AND {_CHOSEN}
GROUP BY 1
ORDER BY 1
"""
_FLAGGED = f"""
SELECT
    $__timeGroup(time, $__interval) AS time,
    {_LEVEL} AS metric,
    sum(flagged)::float / sum(samples) AS value
FROM sensor_data_1m
WHERE $__timeFilter(time)
    AND {_CHOSEN}
GROUP BY 1, 2
ORDER BY 1
"""
_FLAGS = f"""
SELECT flag, count(*) AS readings, count(DISTINCT device_id) AS devices, max(time) AS newest
FROM sensor_data
CROSS JOIN LATERAL unnest(quality_flags) AS f (flag)
WHERE
    time BETWEEN $__timeTo()::timestamptz - INTERVAL '1 hour' AND $__timeTo()::timestamptz
    AND {_CHOSEN}
GROUP BY flag
ORDER BY readings DESC
"""
_ANOMALIES = """
FROM anomalies
WHERE
    $__timeFilter(time)
    AND device_id IN (${device:sqlstring})
    AND verdict IS DISTINCT FROM 'false_alarm'
ORDER BY time DESC
LIMIT 500
"""
_MARKS = f"""
SELECT
    time,
    device_id || ' ' || quantity || ': ' || kind AS text,
    kind || ',' || quantity AS tags
{_ANOMALIES}
"""
_FOUND = f"""
SELECT
    time,
    device_id AS device,
    quantity,
    kind,
    value,
    expected_low AS "expected from",
    expected_high AS "to",
    score
{_ANOMALIES}
"""


def build() -> Dashboard:
    """The dashboard."""
    return (
        kit.board(
            "edge-sensors",
            "Capteurs / Sensors",
            "What the devices measure, live, and which of them are silent.",
            since="now-6h",
            refresh="10s",
        )
        .with_variable(
            kit.choice(
                "site",
                "Site",
                "Sites of the devices; — where none is known.",
                f"SELECT DISTINCT coalesce(site, '—') {_KNOWN} ORDER BY 1",
            )
        )
        .with_variable(
            kit.choice(
                "room",
                "Pièce / Room",
                "Rooms of the chosen sites; — where none is known.",
                f"""
SELECT DISTINCT coalesce(room, '—') {_KNOWN}
    AND coalesce(site, '—') IN (${{site:sqlstring}})
ORDER BY 1""",
            )
        )
        .with_variable(
            kit.choice(
                "device",
                "Capteur / Device",
                "Devices of the chosen rooms that sent in the time range or in the last 30 days.",
                f"""
SELECT DISTINCT device_id {_KNOWN}
    AND coalesce(site, '—') IN (${{site:sqlstring}})
    AND coalesce(room, '—') IN (${{room:sqlstring}})
ORDER BY 1""",
            )
        )
        .with_variable(
            kit.option(
                "level",
                "A line for each",
                "What is one line: a device, or the mean of a room or a site.",
                [("device", "device"), ("room", "room"), ("site", "site")],
            )
        )
        .with_variable(
            kit.option(
                "silent",
                "Offline after",
                "Time without a reading after which a device counts as offline.",
                [
                    ("10 min", "10 minutes"),
                    ("1 min", "1 minute"),
                    ("1 h", "1 hour"),
                    ("1 d", "1 day"),
                ],
            )
        )
        .annotation(kit.events("Anomalies", "red", _MARKS))
        .with_row(Row("Maintenant / Now"))
        .with_panel(
            kit.figure(
                "En ligne / Online",
                "Devices whose newest reading is younger than the variable 'Offline after' says, "
                "at the end of the time range.",
                kit.rows(_counted(f"count(*) FILTER (WHERE NOT {_OFFLINE})")),
                unit="none",
                limits=((None, "green"),),
            )
        )
        .with_panel(
            kit.figure(
                "Hors ligne / Offline",
                "Devices that sent in the last 30 days and then fell silent.",
                kit.rows(_counted(f"count(*) FILTER (WHERE {_OFFLINE})")),
                unit="none",
                limits=((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            kit.lines(
                "Mesures / Readings",
                "Readings of the chosen devices by time of capture, per minute. The newest minute "
                "is added a few seconds after its end.",
                kit.series(_RATE),
                unit="cpm",
                size=(12, 4),
                interval="1m",
            )
        )
        .with_panel(
            kit.coloured(
                kit.listing(
                    "Dernières mesures / Last readings",
                    "The newest reading of each device within 30 days before the end of the time "
                    "range; the most silent first.",
                    kit.rows(_TABLE),
                    units={"temperature": "celsius", "humidity": "humidity", "age": "s"},
                    size=(24, 9),
                ),
                "age",
                (None, "green"),
                (600, "orange"),
                (3600, "red"),
            )
        )
        .with_row(Row("Mesures / Measurements"))
        .with_panel(
            kit.lines(
                "Température / Temperature",
                "Mean air temperature in each interval. Up to a minute readings themselves are "
                "read, then their roll-ups by minute and by hour. Red marks are anomalies.",
                kit.series(_measured("temperature")),
                unit="celsius",
                size=(12, 10),
                least=None,
                interval="1s",
            )
        )
        .with_panel(
            kit.lines(
                "Humidité / Humidity",
                "Mean relative humidity in each interval, made as the temperature.",
                kit.series(_measured("humidity")),
                unit="humidity",
                size=(12, 10),
                least=None,
                interval="1s",
            )
        )
        .with_row(Row("Qualité / Quality"))
        .with_panel(
            kit.lines(
                "Mesures douteuses / Flagged readings",
                "Share of the readings with at least one quality flag: a time that is not the "
                "sensor's, a gateway whose clock was not set, a value out of the physical range.",
                kit.series(_FLAGGED),
                unit="percentunit",
                interval="1m",
            )
        )
        .with_panel(
            kit.listing(
                "Drapeaux / Quality flags",
                "Readings by flag in the last hour of the time range. The comment on "
                "sensor_data.quality_flags says what each means.",
                kit.rows(_FLAGS),
                size=(12, 8),
            )
        )
        .with_panel(
            kit.listing(
                "Anomalies",
                "The newest 500 anomalies in the time range but those that people marked as false "
                "alarms: what was measured, what was expected, and how strong it is (1 is just an "
                "anomaly).",
                kit.rows(_FOUND),
            )
        )
    )
