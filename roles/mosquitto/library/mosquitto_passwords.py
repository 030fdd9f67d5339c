"""Ansible module: Mosquitto's password file, of which a line changes only with its password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: mosquitto_passwords
short_description: Mosquitto's password file
description:
  - Holds the hashes of the given users' passwords and no others.
  - Hashes are made by PBKDF2, which every Mosquitto since 2.0 reads. Long random passwords need no
    more, and a gateway that a thousand devices come back to has to check a thousand of them.
options:
  path: {description: The file., type: path, required: true}
  users: {description: Passwords by user., type: dict, required: true}
extends_documentation_fragment: [files]
author: The edge-telemetry authors
"""
EXAMPLES = """
- mosquitto_passwords:
    path: /etc/mosquitto/passwords
    users: {bridge: "{{ mqtt_bridge_password }}"}
    owner: mosquitto
    mode: "0600"
"""
RETURN = """
revoked:
  description: Users whose password from before is not valid any more.
  type: list
  returned: success
"""
KIND = "$7$"  # PBKDF2-HMAC-SHA512 in Mosquitto's file
ITERATIONS = 1000
SALT_BYTES = 12


def hashed(password: str) -> str:
    """Return what stands in the file for a password, with a new salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    parts = (str(ITERATIONS), _encoded(salt), _encoded(_derived(password, salt, ITERATIONS)))
    return KIND + "$".join(parts)


def fits(password: str, line: str) -> bool:
    """Tell whether a password is the one in the file; False for another kind of hash."""
    try:
        iterations, salt, wanted = line.removeprefix(KIND).split("$")
        derived = _derived(password, base64.b64decode(salt), int(iterations))
        return line.startswith(KIND) and hmac.compare_digest(derived, base64.b64decode(wanted))
    except ValueError:
        return False


def merged(present: dict[str, str], users: dict[str, str]) -> dict[str, str]:
    """Return the hash of each user, the present one where it fits."""
    return {
        name: line if fits(password, line := present.get(name, "")) else hashed(password)
        for name, password in users.items()
    }


def read(path: Path) -> dict[str, str]:
    """Return the hashes of a password file by user; none where there is no file."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _derived(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "users": {"type": "dict", "required": True, "no_log": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    present = read(path)
    wanted = merged(present, {name: str(text) for name, text in module.params["users"].items()})
    revoked = sorted(name for name, line in present.items() if wanted.get(name) != line)
    changed = wanted != present
    if module.check_mode:
        module.exit_json(changed=changed, revoked=revoked)
    if changed:
        text = "".join(f"{name}:{line}\n" for name, line in wanted.items())
        with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False) as file:
            file.write(text)
        module.atomic_move(file.name, str(path))
    attributes = module.load_file_common_arguments(module.params)
    changed = module.set_fs_attributes_if_different(attributes, changed)
    module.exit_json(changed=changed, revoked=revoked)


if __name__ == "__main__":
    main()
