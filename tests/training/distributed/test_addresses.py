"""The addresses of this machine."""

import socket

from scanline.training.distributed.addresses import interface_of, opens_port, own_address


def test_the_loopback_is_found():
    assert own_address("127.0.0.1:29400") == "127.0.0.1"
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.9") == ""  # of no machine: reserved for documentation


def test_a_port_is_opened_if_the_address_is_this_machines_and_the_port_is_free():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        assert not opens_port(f"127.0.0.1:{port}")
    assert opens_port(f"127.0.0.1:{port}")
    assert not opens_port(f"203.0.113.9:{port}")
    assert opens_port("localhost:0")
