"""What a gateway that nobody can reach takes its releases by; docs/decisions/0024-pull-mode.md.

`python -m pull.gateway` looks for a release and takes it, `python -m pull.ask` asks what came of a
gateway's probes, and `python -m pull.arrivals`, beside the database, answers. Beyond the standard
library a gateway has Ansible for it, and nothing here reads what nobody signed.
"""
