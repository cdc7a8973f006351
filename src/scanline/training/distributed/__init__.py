"""Training in several processes, on one machine or on several. The only importer of torch.distributed."""
