"""gostore.wire.states: where a connection is in its life."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire.states import NEXT, Event, State


class StatesTests(SynchronousTestCase):
    """The table."""

    def test_downwards(self) -> None:
        """A connection only goes down the list; aborting twice is no step."""
        order = list(State)
        for state, events in NEXT.items():
            for event, following in events.items():
                step = order.index(following) - order.index(state)
                self.assertTrue(step > 0 or (event is Event.ABORT and not step), (state, event))

    def test_end(self) -> None:
        """The transport may go in every state but LOST, and nothing follows LOST."""
        self.assertEqual(set(NEXT), set(State))
        for state, events in NEXT.items():
            wanted = None if state is State.LOST else State.LOST
            self.assertIs(events.get(Event.GONE), wanted)
        self.assertEqual(NEXT[State.LOST], {})
