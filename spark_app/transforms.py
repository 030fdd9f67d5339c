"""What is added to a reading: quality flags, humidity figures, what is known of its device."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the customary name

# What common air sensors (SHT, BME280, DHT22) can measure at all.
TEMPERATURE_RANGE = (-40.0, 125.0)  # °C
HUMIDITY_RANGE = (0.0, 100.0)  # %

# Magnus formula for the saturation vapour pressure over water at t °C: 6.1094 hPa times e to the
# power of 17.625 t / (t + 243.04). Alduchov and Eskridge 1996, "Improved Magnus Form
# Approximation of Saturation Vapor Pressure", J. Appl. Meteor. 35, 601-609, eq. 21; within 0.4 %
# from -40 to 50 °C.
_MAGNUS_HPA = 6.1094
_MAGNUS_A = 17.625
_MAGNUS_B = 243.04  # °C

# Specific gas constant of water vapour, J/(kg K): CIPM-2007's 8.314472 / 0.01801528.
_VAPOUR_CONSTANT = 461.52
_ZERO_CELSIUS = 273.15  # K


def dew_point(temperature: Column, humidity: Column) -> Column:
    """Return the dew point in °C from °C and % relative humidity; null where there is none."""
    gamma = F.ln(humidity / 100) + _MAGNUS_A * temperature / (temperature + _MAGNUS_B)
    return F.when(
        _physical(temperature, humidity) & (humidity > 0), _MAGNUS_B * gamma / (_MAGNUS_A - gamma)
    )


def absolute_humidity(temperature: Column, humidity: Column) -> Column:
    """Return the mass of water vapour in g/m³ from °C and % relative humidity.

    The ideal gas law for the vapour: its pressure over its gas constant and the temperature.
    """
    saturation = _MAGNUS_HPA * F.exp(_MAGNUS_A * temperature / (temperature + _MAGNUS_B))
    pascal = humidity / 100 * saturation * 100
    return F.when(
        _physical(temperature, humidity),
        pascal / (_VAPOUR_CONSTANT * (temperature + _ZERO_CELSIUS)) * 1000,
    )


def enrich(readings: DataFrame) -> DataFrame:
    """Add `dew_point`, `absolute_humidity` and `quality_flags` to decoded readings."""
    temperature, humidity = F.col("temperature"), F.col("humidity")
    outside = (
        F.when(~temperature.between(*TEMPERATURE_RANGE), "temperature_out_of_range"),
        F.when(~humidity.between(*HUMIDITY_RANGE), "humidity_out_of_range"),
    )
    return (
        readings.withColumn("dew_point", dew_point(temperature, humidity))
        .withColumn("absolute_humidity", absolute_humidity(temperature, humidity))
        .withColumn("quality_flags", F.concat("clock_flags", F.array_compact(F.array(*outside))))
        .drop("clock_flags")
    )


def add_devices(readings: DataFrame, devices: DataFrame) -> DataFrame:
    """Add `site`, `room` and `model` from the table `devices`.

    A device that is not in it has the site of its MQTT topic, and no room and model.

    Args:
        readings: with `device_id` and `topic_site`.
        devices: small; `device_id` (unique), `site`, `room`, `model`.
    """
    return (
        readings.join(F.broadcast(devices), "device_id", "left")
        .withColumn("site", F.coalesce("site", "topic_site"))
        .drop("topic_site")
    )


def _physical(temperature: Column, humidity: Column) -> Column:
    return temperature.between(*TEMPERATURE_RANGE) & humidity.between(*HUMIDITY_RANGE)
