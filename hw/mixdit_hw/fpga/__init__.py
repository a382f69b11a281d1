"""The engine as a bitstream: a top that tests itself, boards, and the flow to the bits."""
