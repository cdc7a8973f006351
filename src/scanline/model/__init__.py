"""The network: recurrent layers, readout, head, and what their weights start from."""
