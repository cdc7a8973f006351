"""The meeting of agents goes on when a machine is lost or gives up."""

from torch.distributed import DistStoreError

from scanline.training.distributed.meeting import Meeting


class _Inner:
    """A rendezvous whose first round lacks the address of its first machine."""

    def __init__(self):
        self.rounds, self.closed = 0, False

    def next_rendezvous(self):
        self.rounds += 1
        if self.rounds == 1:
            raise DistStoreError("wait timeout after 20000ms, keys: MASTER_ADDR")
        return "met"

    def set_closed(self):
        self.closed = True

    def is_closed(self):
        return self.closed


def test_machines_meet_again_when_the_first_one_is_lost():
    inner = _Inner()
    assert Meeting(inner).next_rendezvous() == "met"
    assert inner.rounds == 2


def test_only_the_end_of_the_training_closes_the_meeting():
    inner = _Inner()
    meeting = Meeting(inner)
    assert meeting.shutdown()
    assert not meeting.is_closed()
    meeting.set_closed()
    assert meeting.is_closed()
