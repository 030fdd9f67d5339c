"""What testssl.sh and lynis say is read as it is meant."""

import pytest

from tests.security.scans import judge_tls, read_audit

TLS_1_3 = {"id": "TLS1_3", "severity": "OK", "finding": "offered with final"}


def test_a_serious_finding_counts_and_a_waived_one_is_told_with_its_reason() -> None:
    old = {"id": "TLS1_1", "severity": "MEDIUM", "finding": "offered"}
    revocation = {"id": "cert_revocation", "severity": "HIGH", "finding": "neither"}
    weak = {"id": "LUCKY13", "severity": "LOW", "finding": "potentially vulnerable"}
    found = judge_tls([TLS_1_3, old, revocation, weak])
    assert found["findings"] == ["TLS1_1: offered"]
    assert [line.partition(":")[0] for line in found["waived"]] == ["cert_revocation"]


def test_a_scan_that_did_not_happen_is_a_finding() -> None:
    assert judge_tls([{"id": "scanProblem", "severity": "FATAL", "finding": "no TLS"}])["findings"]


def test_the_index_and_what_lynis_would_change_are_read() -> None:
    report = (
        "hardening_index=71\nwarning[]=FIRE-4512|no rules|-|-|\nsuggestion[]=SSH-7408|harden|x|-|\n"
    )
    assert read_audit(report) == {
        "hardening": 71,
        "warnings": ["FIRE-4512|no rules"],
        "suggestions": ["SSH-7408|harden"],
    }


def test_a_report_without_a_figure_is_an_error() -> None:
    with pytest.raises(ValueError, match="hardening_index"):
        read_audit("lynis_version=3\n")
