"""An image message as it arrived; it is deserialised only if somebody looks at the image."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TypeVar

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from deep_perception.encodings import EncodingError
from deep_perception.images.pixels import MAX_COMPRESSED_BYTES, MAX_MESSAGE_BYTES
from deep_perception.ros import messages
from deep_perception.stamps import MAX_FRAME_ID, header_of
from deep_perception.untrusted.text import printable

_Message = TypeVar("_Message")

_HEADER_BYTES = 1024
# Where the length of the frame id is: behind the encapsulation and the stamp.
_FRAME_ID = 12
# Whole messages: padded rows may take as much memory as their pixels; what is not the data of a
# compressed image is short. Reading a message takes a second for some hundred MB.
_MAX_BYTES = {Image: 2 * MAX_MESSAGE_BYTES, CompressedImage: MAX_COMPRESSED_BYTES + 2**16}


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
        """The message. Raises EncodingError if its bytes are damaged or too many.

        For CDR bytes the first access is slow: it copies the pixels.
        """
        if not isinstance(self._message, bytes):
            return self._message
        if len(self._message) > _MAX_BYTES[self._type]:
            raise EncodingError(
                f"the message is too large ({len(self._message) / 1e6:.0f} MB, at most "
                f"{_MAX_BYTES[self._type] / 1e6:.0f} MB)"
            )
        return _read(self._message, self._type)

    @cached_property
    def header(self) -> Header:
        """The header of the message, without a need for its pixels. Raises EncodingError.

        Its frame id is the camera's, because tf and RViz look it up, unless that could be no name
        of a frame: then it is escaped.
        """
        if not isinstance(self._message, bytes):
            return self._shown(self._message.header)
        data = self._message[:_HEADER_BYTES]
        if len(data) >= _FRAME_ID + 4:
            (length,) = struct.unpack_from("<I" if data[1] & 1 else ">I", data, _FRAME_ID)
            if length > MAX_FRAME_ID:
                raise EncodingError(
                    f"the frame id has {length} bytes; expected at most {MAX_FRAME_ID}"
                )
        return self._shown(_read(data, Header))

    @staticmethod
    def _shown(header: Header) -> Header:
        return Header(stamp=header.stamp, frame_id=printable(header.frame_id, MAX_FRAME_ID))


def _read(data: bytes, message_type: type[_Message]) -> _Message:
    """Return the message in CDR bytes, which a publisher may send as it likes."""
    try:
        return deserialize_message(data, message_type)
    except Exception as error:  # rclpy does not say which
        raise EncodingError(
            f"the message cannot be read: {len(data)} bytes are no {message_type.__name__} "
            f"({type(error).__name__})"
        ) from None
