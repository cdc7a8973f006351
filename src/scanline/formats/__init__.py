"""Bytes of other people's formats to arrays. Knows nothing of Scanline's data, models or runs."""
