"""What another host sees of a host with a firewall."""

import json
import shlex
from collections.abc import Iterator

import pytest
from testinfra.host import Host

# Takes connections on each port of 8000 to 8009, and ends them.
LISTEN = """
import asyncio
async def serve():
    servers = [await asyncio.start_server(lambda r, w: w.close(), "0.0.0.0", port)
               for port in range(8000, 8010)]
    await asyncio.gather(*(server.serve_forever() for server in servers))
asyncio.run(serve())
"""
# Prints which of the ports take a connection, as JSON.
SCAN = """
import asyncio, json, sys
async def is_open(port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], port), 10)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
async def scan():
    ports = [int(word) for word in sys.argv[2:]]
    found = await asyncio.gather(*map(is_open, ports))
    print(json.dumps([port for port, is_open in zip(ports, found) if is_open]))
asyncio.run(scan())
"""
# What curl says when the listener takes and ends the connection, before or after curl has written.
CLOSED = {52, 56}
TABLE = "nft list table inet edge_firewall"


def address(host: Host) -> str:
    return str(host.check_output("hostname -I")).split()[0]


def scan(scanner: Host, target: Host) -> set[int]:
    """The open ports of the target; a port on which nothing listens is not open."""
    listening = target.check_output("ss --no-header --listening --tcp --numeric").splitlines()
    ports = {line.split()[3].rpartition(":")[2] for line in listening}
    command = f"python3 -c {shlex.quote(SCAN)} {address(target)} {' '.join(sorted(ports))}"
    return set(json.loads(scanner.check_output(command)))


@pytest.fixture(scope="module")
def served(hosts: dict[str, Host]) -> Iterator[dict[str, Host]]:
    """The hosts, while each listens on declared and other ports."""
    for host in hosts.values():
        host.check_output(
            f"systemd-run --unit=listen --collect python3 -c {shlex.quote(LISTEN)} && sleep 2"
        )
    yield hosts
    for host in hosts.values():
        host.check_output("systemctl stop listen")


def test_the_other_host_sees_what_was_declared(served: dict[str, Host]) -> None:
    one, other = served.values()
    assert scan(one, other) == {22, 8001, 8003, 8004, 8005, 8007, 8009}


def test_strangers_do_not_see_what_is_for_the_other_host(served: dict[str, Host]) -> None:
    one, other = served.values()
    network = address(one).rpartition(".")[0]
    one.check_output(f"ip address add {network}.19/16 dev eth0")
    try:
        attempt = f"curl -s --max-time 2 --interface {network}.19 http://{address(other)}"
        assert one.run(f"{attempt}:8001").rc in CLOSED
        # Nobody answered.
        assert one.run(f"{attempt}:8007").rc == 28
    finally:
        one.check_output(f"ip address del {network}.19/16 dev eth0")


def test_all_are_seen_without_it(served: dict[str, Host]) -> None:
    one, other = served.values()
    other.check_output("systemctl stop edge-firewall")
    try:
        assert scan(one, other) == {22, *range(8000, 8010)}
    finally:
        other.check_output("systemctl start edge-firewall")


def test_what_the_host_asks_for_is_answered(served: dict[str, Host]) -> None:
    one, other = served.values()
    assert other.run(f"curl -s --max-time 5 http://{address(one)}:8001").rc in CLOSED
    assert other.run("curl -s --max-time 5 http://127.0.0.1:8000").rc in CLOSED


def test_tables_of_others_stay(host: Host) -> None:
    host.check_output("nft add table inet someone")
    try:
        for verb in ("reload", "restart"):
            host.check_output(f"systemctl {verb} edge-firewall")
            assert "policy drop" in host.check_output(TABLE)
            assert "someone" in host.check_output("nft list tables")
    finally:
        host.check_output("nft delete table inet someone")


def test_it_is_loaded_at_boot(host: Host) -> None:
    assert host.service("edge-firewall").is_enabled
    before = host.check_output("systemctl show --property=Before --value edge-firewall")
    assert "network-pre.target" in before
