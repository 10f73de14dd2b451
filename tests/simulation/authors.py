"""Those who speak: what they say, with which ids, and what they know to be stored."""

import uuid
from collections.abc import Sequence

from sharechat.domain.ids import MessageId, RoomId
from sharechat.domain.messages import Message, MessageType, to_json
from sharechat.domain.subprotocols import PLAIN_TEXT, SharechatV1, Subprotocol
from tests.simulation.state import AuthorState, Said
from tests.simulation.world import World

_MALFORMED = (
    ('{{"id":"{id}","message":"{text}"', "not JSON"),
    ('["{id}","{text}"]', "not a JSON object"),
    ('{{"id":"{id}","message":"{text}","color":"red"}}', "other keys"),
    ('{{"id":"{text}","message":"{text}"}}', "not a UUID"),
    ('{{"message":"{text}"}}', '"id" is missing'),
    ('{{"id":"{id}"}}', '"message" is missing'),
    ('{{"id":"{id}","message":["{text}"]}}', "not a string"),
)
"""Frames that the subprotocol does not allow, and what the answer must say."""

_ID_IS_READ = ("other keys", '"message" is missing', "not a string")
"""The answers that must have the frame's id."""


def _frame(id_: str, text: str) -> str:
    return to_json({"id": id_, "message": text}).decode()


class Author(AuthorState):
    """Speaks plain text: the ids are the server's, so nothing can be said again."""

    subprotocol: Subprotocol = PLAIN_TEXT

    def __init__(self, world: World, room_id: RoomId, *, chooses_ids: bool = False) -> None:
        super().__init__(len(world.authors), room_id, chooses_ids=chooses_ids)
        world.authors.append(self)
        self._world = world
        self._texts = 0

    def _new_text(self) -> str:
        """Return a text that was never said before."""
        self._texts += 1
        return f"{self.number}.{self._texts}"

    def new(self, flaw: str = "") -> Said:
        """Return a new message; with a flaw, it cannot be stored."""
        text = self._new_text() + flaw
        return Said(text, text)

    def malformed(self, variant: int) -> Said:
        """Return a frame that is not allowed. In plain text there is none: it is a new message."""
        return self.new()

    def repeat(self, variant: int) -> Said:
        """Return something that was said before. In plain text that is a new message, too."""
        return self.new()

    def unacknowledged(self) -> Sequence[Said]:
        """Return what has to be said again over a new connection."""
        return list(self.kept.values())

    def hears(self, message: Message) -> None:
        """Take note of what becomes of a message."""


class Speaker(Author):
    """Speaks `sharechat.v1`, and keeps everything until it is acknowledged."""

    subprotocol = SharechatV1()

    def __init__(self, world: World, room_id: RoomId) -> None:
        super().__init__(world, room_id, chooses_ids=True)
        self._rng = world.rng(f"author {self.number}")
        self._said: list[Said] = []

    def _new_id(self) -> MessageId:
        return MessageId(str(uuid.UUID(int=self._rng.getrandbits(128), version=4)))

    def new(self, flaw: str = "") -> Said:
        id_, text = self._new_id(), self._new_text() + flaw
        said = Said(_frame(id_, text), text, id_)
        self._world.said[id_] = text
        self._said.append(said)
        if not flaw:
            self.kept[id_] = said
        return said

    def malformed(self, variant: int) -> Said:
        template, answer = _MALFORMED[variant % len(_MALFORMED)]
        id_ = self._new_id()
        frame = template.format(id=id_, text=self._new_text())
        self._world.malformed[frame] = answer
        if answer not in _ID_IS_READ:
            return Said(frame, frame)
        self._world.said[id_] = frame
        return Said(frame, frame, id_)

    def repeat(self, variant: int) -> Said:
        """Return something that was said before, the last message for variant 0.

        The frame is not the same: the id is in capitals and, if the message is known to be stored,
        the text is another one. Neither changes what is stored or what the answer is.
        """
        if not self._said:
            return self.new()
        said = self._said[-1 - variant % len(self._said)]
        id_, text = said.id, said.text
        assert id_ is not None
        return said._replace(frame=_frame(id_.upper(), text if id_ in self.kept else text + "?"))

    def hears(self, message: Message) -> None:
        if message.type is not MessageType.FAILED:
            self.kept.pop(message.id, None)
            self.failed.discard(message.id)
        elif message.id in self.kept:
            self.failed.add(message.id)
