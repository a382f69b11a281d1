"""Hardware of mixdit, described in Amaranth. Takes its formats and widths from `mixdit_sw`."""
