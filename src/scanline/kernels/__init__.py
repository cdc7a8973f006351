"""What computes recurrent layers: the native library, torch's fused functions, or the reference."""
