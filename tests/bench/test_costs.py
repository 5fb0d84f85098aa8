"""What a run costs, from its FLOPs."""

import pytest


def test_costs_follow_the_flops_of_a_token() -> None:
    from costs import SIZES, Machine, gpu_seconds, gpus, rows

    machine = Machine(peak=1e15, share=0.5, memory=80e9)
    assert gpu_seconds(10e9, 100e3, machine) == pytest.approx(4)  # 2e15 FLOPs at 5e14 FLOP/s
    assert [gpus(parameters, machine) for parameters in (7e9, 32e9, 34e9, 70e9)] == [1, 1, 2, 3]
    table = rows(1000, 100e3, machine)
    assert [row[0] for row in table] == [*SIZES]
    seconds = gpu_seconds(SIZES["7B"], 100e3, machine)
    assert table[0][2:] == ["1.5", f"{round(1000 / seconds * 3600, -3):,.0f}", f"{seconds:.0f}"]
