"""`make soak`: trading without pause under faults drawn from a seed. ARBIG_SOAK_MINUTES, ARBIG_SOAK_SEED,
ARBIG_SOAK_FAULTS, ARBIG_SOAK_ORDERS."""

import json
import os
from pathlib import Path

import pytest
from soaking import Soak, swarm_rig

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3 * 3600)]

MINUTES = float(os.environ.get("ARBIG_SOAK_MINUTES", "20"))
SEED = int(os.environ.get("ARBIG_SOAK_SEED", "1"))
FAULTS = int(os.environ.get("ARBIG_SOAK_FAULTS", "100"))
ORDERS = int(os.environ.get("ARBIG_SOAK_ORDERS", "5000"))
REPORT = Path(__file__).parents[2] / "data" / "chaos" / "soak.json"


def test_twenty_minutes_of_faults_lose_nothing_and_leak_nothing(tmp_path: Path) -> None:
    """Books equal at every check-point and at the end, memory and handles flat, streams bounded, nothing pending."""
    rig = swarm_rig(tmp_path, port_offset=3600)
    print()
    with rig.running():
        soak = Soak(rig, SEED, MINUTES, FAULTS, ORDERS)
        soak.run()
        report = soak.report()
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(json.dumps(report, indent=1))
        for row in report["growth"]:
            print(f"{row['process']:10} {row['rss']:7.1f} MB, {row['rise']:+6.2f} MB in {row['seconds']} s, "
                  f"handles {row['handles']}, threads {row['threads']}")  # fmt: skip
        print(
            f"seed {SEED}: {report['minutes']} minutes, {report['orders']} orders, {report['trades']} trades, "
            f"{len(report['faults'])} faults, {report['check_points']} check-points, well again after "
            f"{report['seconds_to_well']}, halts {report['halts']}; curves in {REPORT}"
        )
        assert not soak.leaks()
        assert not soak.unbounded()
        assert len(report["faults"]) >= FAULTS
        assert report["orders"] >= ORDERS
