"""An image message as it arrived; it is deserialised only if somebody looks at the image."""

from __future__ import annotations

from functools import cached_property

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from deep_perception.ros import messages
from deep_perception.stamps import header_of
from deep_perception.untrusted.text import printable

# tf2 takes any text that is not empty and does not begin with a slash. Frames of robots have some
# ten characters, with namespaces some more.
MAX_FRAME_ID = 256
# A header with a longer frame id is read with the whole message.
_HEADER_BYTES = 1024


class ReceivedFrame:
    """An image message, the time of its arrival (seconds of time.monotonic) and its stamp.

    ``stamp_ns`` is the time that counts for keyframes and tracks: the stamp of the header, or the
    time of arrival where that stamp is of no use.
    """

    def __init__(
        self,
        message: Image | CompressedImage | bytes,
        received_s: float,
        stamp_ns: int | None = None,
        message_type: type[Image] | type[CompressedImage] = Image,
    ) -> None:
        """``message`` may be the CDR bytes of a message of ``message_type``."""
        self._message = message
        self._type = message_type
        self.received_s = received_s
        self.stamp_ns = self._header_ns() if stamp_ns is None else stamp_ns

    def _header_ns(self) -> int:
        if isinstance(self._message, bytes):
            return header_of(self._message)[0]
        return messages.stamp_ns(self._message.header.stamp)

    @cached_property
    def message(self) -> Image | CompressedImage:
        """The message. For CDR bytes the first access is slow: it copies the pixels."""
        if isinstance(self._message, bytes):
            return deserialize_message(self._message, self._type)
        return self._message

    @cached_property
    def header(self) -> Header:
        """The header of the message, without a need for its pixels.

        Its frame id is the camera's, because tf and RViz look it up, unless that could be no name
        of a frame: then it is escaped and shortened.
        """
        header = self._header()
        frame_id = printable(header.frame_id, MAX_FRAME_ID)
        return Header(stamp=header.stamp, frame_id=frame_id)

    def _header(self) -> Header:
        if isinstance(self._message, bytes):
            try:
                return deserialize_message(self._message[:_HEADER_BYTES], Header)
            except Exception:  # rclpy does not say which
                return self.message.header
        return self._message.header
