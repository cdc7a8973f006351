"""How much the campaigns try. With SCANLINE_THOROUGH=1 they leave out nothing and take much longer."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("SCANLINE_THOROUGH"))
