"""What the fuzzer begins with: good readings, and bad ones of each kind that is refused.

A case is a payload, or an MQTT topic, SEPARATOR and a payload.
"""

# No UTF-8 text holds this byte.
SEPARATOR = b"\xfe"
TOPIC = b"sensors/lab/dev1/telemetry"

SEEDS = (
    b'{"device_id":"dev1","ts":"2026-03-01T11:59:58.123456Z","seq":7,"temperature":20.48}',
    b'{"ts":"2026-03-01T11:59:58Z","seq":8,"humidity":42.332,"lux":185.71,"co2":812}',
    b'{"temperature":-3.5e0,"humidity":1e2,"seq":12.0}',
    b'{"temperature":21,"ts":1772366400.25,"replay":true}',
    b'{"temperature":21,"ts":1458031648545,"replay":true,"pm2.5":3}',
    b' {"co2" : 417, "note" : "x\\n\\u00e9\\ud83d\\ude00", "ok" : true, "none" : null}\r\n',
    b'{"humidity":40,"nested":{"a":[1,2,{"b":null}]},"gruppe":"\xc3\xa9"}',
    b'{"temperature":null,"humidity":0.0,"seq":null,"device_id":null}',
    b'{"temperature":1e999,"humidity":-1e400}',
    b'{"temperature":NaN,"humidity":Infinity}',
    b'{"temperature":1,"temperature":2}',
    b'{"temperature":"21.5","humidity":[40],"seq":"5","device_id":5}',
    b'{"temperature":1,"a\\u0000b":1}',
    b'{"temperature":1,"a\\\\u0000b":1}',
    b'{"temperature":1}],[{"temperature":2}',
    b'{"temperature":1,"x":' + b"[" * 40 + b"]" * 40 + b"}",
    b'{"seq":9223372036854775807,"temperature":99999999999999999999999999999999999999}',
    b'\xef\xbb\xbf{"temperature":1}',
    b'"text"',
    b"[1,2]",
    b"\xff\xfe\x00",
    b"sensors/a/../telemetry" + SEPARATOR + b'{"temperature":1}',
    b"sensors/+/\x00/telemetry" + SEPARATOR + b'{"temperature":1}',
    b"sensors/\xc3\xa9/b\n\\.\nc/telemetry" + SEPARATOR + b'{"temperature":1}',
)

# Values that one program or another has stumbled over, as JSON or nearly.
VALUES = (
    *(b"0 -0 -0.0 1. .5 01 +1 0x10 1e5 1E+2 1e400 -1e400 1e-400 4.9e-324 1.7976931348623157e308"
      b" 9007199254740993 9007199254740992.5 9223372036854775807 9223372036854775808"
      b" 9.223372036854775808e18 18446744073709551616 1.0000000000000000001"
      b" 99999999999999999999999999999999999999 0.00000000000000000000000000000000000001"
      b" 1772366400 1772366400123 1772366400123456 -62135596800 253402300800 8e15 -1e18"
      b' true false null NaN Infinity -Infinity nan undefined {} [] [[]] {"":{}} "').split(),
    b"9" * 400,
    b"0." + b"1" * 400,
    b"9" * 1200,
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\udc00\\ud800"',
    b'"\x7f\xc2\x80\xef\xbf\xbf"',
    b'"\xed\xa0\x80"',
    b'"2026-03-01T12:00:00Z"',
    b'"2026-03-01 12:00:00,999999999+14:00"',
    b'"2026-02-30T24:60:61Z"',
    b'"0000-00-00T00:00:00Z"',
    b'"9999-12-31T23:59:59-23:59"',
    b'"+1000000-01-01T00:00:00Z"',
    b'"dev1"',
    b'"dev1\\u0000"',
)  # fmt: skip

NAMES = (
    b"device_id", b"ts", b"seq", b"temperature", b"humidity", b"replay", b"co2", b"",
    b"\\u0000", b"\\ud800", b"\\udfff", b"?", b"t\\u0065mperature", b"$.a", b"a.b", b'a\\"b',
    b"\xc3\xa9", b"e\xcc\x81", b"\xef\xbf\xbf", b"k" * 300,
)  # fmt: skip

TOPICS = (
    TOPIC, b"", b"sensors/lab/dev1", b"sensors//dev1/telemetry", b"sensors/lab/dev1/telemetry/",
    b"sensors/lab/dev1/telemetry\n", b"sensors/#/+/telemetry", b"$SYS/lab/dev1/telemetry",
    b"sensors/../../telemetry", b"sensors/a/\x00/telemetry", b"sensors/ /\t/telemetry",
    b"sensors/a/\",';--/telemetry", b"sensors/a/\xed\xa0\x80/telemetry",
    b"sensors/a/" + b"d" * 255 + b"/telemetry", b"sensors/a/" + b"d" * 256 + b"/telemetry",
    b"sensors/a/" + b"\xc3\xa9" * 128 + b"/telemetry", b"sensors/a/\\N/telemetry",
)  # fmt: skip


def split(case: bytes) -> tuple[bytes, bytes]:
    """Return a case's topic and payload."""
    topic, separator, payload = case.partition(SEPARATOR)
    return (topic, payload) if separator else (TOPIC, case)
