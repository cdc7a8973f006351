"""What happens inside while a sequence is read, and what the answer rests on."""
