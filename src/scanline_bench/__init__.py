"""`scanline bench`: the same work by Scanline and by its peers, side by side in one run."""
