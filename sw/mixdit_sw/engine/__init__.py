"""What a host needs of the engine: commands, registers, memory layout, compiler, driver."""
