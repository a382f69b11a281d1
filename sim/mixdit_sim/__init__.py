"""Simulation, cycle model and workloads of mixdit: drives `mixdit_hw` with `mixdit_sw` tensors."""
