"""Small CSV files: one row for each sequence, and the header of one row for each step."""

from __future__ import annotations

WIDE = "x1,x2,label\n1,2,a\n3,4,b\n"
LONG = "id,time,x,label\n"
