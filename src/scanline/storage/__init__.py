"""Scanline's own files: atomic writes, sealed JSON, tensors."""
