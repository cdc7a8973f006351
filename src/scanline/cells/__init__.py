"""Recurrent cells: what one step computes."""
