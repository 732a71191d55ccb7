"""Messages that rclpy refuses to send: bytes of any kind, on any DDS topic.

A peer of the graph need not use rclpy. These calls of rmw_fastrtps do not check what they send.
"""

import ctypes
import struct

import rclpy

SYMBOL = "rosidl_typesupport_c__get_message_type_support_handle__"
RELIABLE, VOLATILE, TRANSIENT_LOCAL = 1, 2, 1


class _Time(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_uint64), ("nsec", ctypes.c_uint64)]


class _Qos(ctypes.Structure):
    _fields_ = [
        ("history", ctypes.c_int), ("depth", ctypes.c_size_t), ("reliability", ctypes.c_int),
        ("durability", ctypes.c_int), ("deadline", _Time), ("lifespan", _Time),
        ("liveliness", ctypes.c_int), ("lease", _Time), ("avoid_ros_names", ctypes.c_bool),
    ]  # fmt: skip


class _Options(ctypes.Structure):
    _fields_ = [("payload", ctypes.c_void_p), ("unique", ctypes.c_int)]


class _Serialized(ctypes.Structure):
    _fields_ = [
        ("buffer", ctypes.c_char_p), ("length", ctypes.c_size_t), ("capacity", ctypes.c_size_t),
        ("allocator", ctypes.c_void_p * 5),
    ]  # fmt: skip


class _Gid(ctypes.Structure):
    _fields_ = [("implementation", ctypes.c_char_p), ("data", ctypes.c_uint8 * 24)]


def is_possible():
    return rclpy.get_rmw_implementation_identifier() == "rmw_fastrtps_cpp"


class RawPublisher:
    """Publishes bytes on a DDS topic such as ``rt/image``; ``kind`` is "package/msg/Name"."""

    def __init__(self, node, topic, kind, *, durability=VOLATILE):
        package, folder, name = kind.split("/")
        self._node = node
        self._rmw = ctypes.CDLL("librmw_fastrtps_cpp.so")
        rcl = ctypes.CDLL("librcl.so")
        types = ctypes.CDLL(f"lib{package}__rosidl_typesupport_c.so")
        handle = getattr(types, f"{SYMBOL}{package}__{folder}__{name}")
        handle.restype = ctypes.c_void_p
        rcl.rcl_node_get_rmw_handle.restype = ctypes.c_void_p
        rcl.rcl_node_get_rmw_handle.argtypes = [ctypes.c_void_p]
        create = self._rmw.rmw_create_publisher
        create.restype = ctypes.c_void_p
        create.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        qos = _Qos(
            history=1, depth=10, reliability=RELIABLE, durability=durability, avoid_ros_names=True
        )
        with node.handle:
            self._handle = create(
                rcl.rcl_node_get_rmw_handle(node.handle.pointer),
                handle(),
                topic.encode(),
                ctypes.byref(qos),
                ctypes.byref(_Options()),
            )
        assert self._handle, topic

    def publish(self, data):
        """Publish CDR, with its header of four bytes; returns whether it was sent."""
        message = _Serialized(buffer=data, length=len(data), capacity=len(data))
        send = self._rmw.rmw_publish_serialized_message
        send.argtypes = [ctypes.c_void_p] * 3
        with self._node.handle:
            return send(self._handle, ctypes.byref(message), None) == 0

    @property
    def participant(self):
        """The identifier of this process in the graph."""
        gid = _Gid()
        get = self._rmw.rmw_get_gid_for_publisher
        get.argtypes = [ctypes.c_void_p] * 2
        with self._node.handle:
            assert get(self._handle, ctypes.byref(gid)) == 0
        return bytes(gid.data)[:12] + b"\0\0\1\xc1"


def announce(node, names):
    """Announce nodes of any names, as bytes, in the name of a process; returns the publisher."""
    publisher = RawPublisher(
        node, "ros_discovery_info", "rmw_dds_common/msg/ParticipantEntitiesInfo",
        durability=TRANSIENT_LOCAL,
    )  # fmt: skip
    assert publisher.publish(_entities(publisher.participant, names))
    return publisher


def withdraw(publisher, node):
    """Announce the names of this process's nodes again, instead of the others."""
    assert publisher.publish(_entities(publisher.participant, [node.get_name().encode()]))


def _entities(participant, names):
    data = bytearray(b"\0\1\0\0" + participant)

    def number(value):
        data.extend(b"\0" * (-len(data) % 4) + struct.pack("<I", value))

    number(len(names))
    for name in names:
        for text in (b"/", name):
            number(len(text) + 1)
            data.extend(text + b"\0")
        number(0)  # of its readers
        number(0)  # of its writers
    return bytes(data)
