"""The table of one trial's arms: what was injected, what was answered, and how far that moved."""

import math

from introbench.analysis.arm_reading import ArmReading
from introbench.report.markdown import arm_table

HALF = {"yes": math.log(0.5), "no": math.log(0.5)}
MORE = {"yes": math.log(0.8), "no": math.log(0.2)}


def test_the_table_says_arm_by_arm_what_was_injected_and_answered() -> None:
    sham = ArmReading("sham", "sham", HALF, ((" yes", 0.5),), dose=0.0)
    concept = ArmReading("concept", "cats", MORE, ((" a|b", 0.8),), strength=12.345, dose=0.1234)
    table = [[cell.strip() for cell in line.split(" | ")] for line in arm_table([sham, concept]).splitlines()]
    assert table[0][1:4] == ["vector", "norm", "dose (nats)"]
    assert table[2] == ["| sham", "sham", "", "", "50.000%", "50.000%", "100.0%", "+0.000", "", "`·yes` 50.0% |"]
    assert table[3][:7] == ["| concept", "cats", "12.3", "0.123", "80.000%", "20.000%", "100.0%"]
    assert table[3][7:] == ["+1.386", "+1.386", "`·a\\|b` 80.0% |"]
