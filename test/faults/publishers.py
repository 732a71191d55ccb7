"""Faults of publishers: wrong, hostile, cut and far too many messages on the topics of cameras.

The file is longer than others, so that all faults of one kind are together.
"""

import contextlib
import functools
import signal
import struct
import zlib

import cv2
import numpy as np
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from deep_perception.encodings import ENCODINGS
from faults.hostile import text
from faults.table import fault
from support.actors import camera_image

HUGE = 2**32 - 1
FORMATS = ("jpeg", "png", "bgr8; jpeg compressed bgr8", "16UC1; compressedDepth png", "webp", "gif",
           "32FC1; compressedDepth rvl", "tiff", "exr", "jp2", "hdr", "bmp", "svg", "")  # fmt: skip
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@contextlib.contextmanager
def publishing(world, chance, kind=Image, *, compressed=False, qos=10):
    """A publisher on the topic of one of the cameras that have faults."""
    topic = f"{world.namespace}/{chance.choice(world.faulty)}/image"
    with world.publisher(kind, f"{topic}/compressed" if compressed else topic, qos) as publisher:
        yield publisher


def image(world, chance, **fields):
    return world.graph.image(camera_image(chance.randrange(1000)), **fields)


def send(world, publisher, messages, pause_s=0.05):
    for message in messages:
        publisher.publish(message)
        world.graph.spin(pause_s)


@fault(weight=2)
def wrong_fields(world, chance):
    wrong = {
        "height": (0, 1, 119, 121, 65536, HUGE),
        "width": (0, 1, 161, 65536, 2**31, HUGE),
        "step": (0, 1, 479, 65536, HUGE),
        "data": (b"", b"x", bytes(57599)),
        "is_bigendian": (0, 1, 255),
    }
    with publishing(world, chance) as publisher:
        for _ in range(10):
            names = chance.sample(sorted(wrong), chance.randint(1, 3))
            fields = {name: chance.choice(wrong[name]) for name in names}
            send(world, publisher, [image(world, chance, **fields)])
        yield


@fault(weight=2)
def odd_encodings(world, chance):
    with publishing(world, chance) as publisher:
        for _ in range(8):
            encoding = chance.choice(sorted(ENCODINGS))
            width, height = chance.randint(1, 200), chance.randint(1, 150)
            step = width * chance.choice((1, 2, 3, 4, 8, 16)) + chance.randint(0, 5)
            data = chance.choice((bytes, chance.randbytes))(step * height)
            sizes = {"width": width, "height": height, "step": step, "data": data}
            message = image(world, chance, encoding=encoding, **sizes)
            send(world, publisher, [message])
        yield


@fault()
def hostile_encoding(world, chance):
    with publishing(world, chance) as publisher:
        send(world, publisher, [image(world, chance, encoding=text(chance)) for _ in range(5)])
        yield


@fault()
def not_a_number(world, chance):
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e-38], np.float32)
    with publishing(world, chance) as publisher:
        for _ in range(5):
            drawn = [chance.randrange(len(values)) for _ in range(120 * 160)]
            pixels = values[drawn].reshape(120, 160)
            send(world, publisher, [world.graph.image(pixels, "32FC1")])
        yield


@fault(weight=2)
def cut_off(world, chance):
    with publishing(world, chance) as publisher:
        for _ in range(8):
            whole = serialize_message(image(world, chance))
            send(world, publisher, [whole[: chance.choice((0, 1, 3, 4, 8, 15, 20, 40, 999))]])
        yield


@fault(weight=2)
def flipped_bytes(world, chance):
    kind, compressed = chance.choice(((Image, False), (CompressedImage, True)))
    with publishing(world, chance, kind, compressed=compressed) as publisher:
        for _ in range(8):
            message = image(world, chance) if kind is Image else jpeg(world, chance)
            data = bytearray(serialize_message(message))
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(min(80, len(data)))] = chance.choice((0, 1, 127, 128, 255))
            send(world, publisher, [bytes(data)])
        yield


@fault()
def huge_claims(world, chance):
    with publishing(world, chance) as publisher:
        for _ in range(5):
            data = bytearray(serialize_message(image(world, chance)))
            struct.pack_into("<I", data, chance.choice((12, 40, 44, 48, 56, 60, 64, 68)), HUGE - 7)
            send(world, publisher, [bytes(data)])
        yield


@fault(weight=2)
def bad_stamps(world, chance):
    stamps = [(0, 0), (-5, 0), (2**31 - 1, 999_999_999), (1, HUGE), (-(2**31), HUGE), (1_700, 5)]
    with publishing(world, chance) as publisher:
        for number in range(12):
            message = image(world, chance)
            seconds, nanoseconds = chance.choice(stamps)
            message.header.stamp.sec = seconds
            message.header.stamp.nanosec = (
                nanoseconds + chance.choice((0, number)) % HUGE
                if nanoseconds < HUGE
                else nanoseconds
            )
            send(world, publisher, [message])
        yield


@fault(weight=2)
def hostile_frame_id(world, chance):
    with publishing(world, chance) as publisher:
        for _ in range(5):
            message = image(world, chance)
            message.header.frame_id = text(chance)
            send(world, publisher, [message], 0.2)
        yield


def jpeg(world, chance, data=None, format_="jpeg"):
    if data is None:
        data = cv2.imencode(".jpg", camera_image(chance.randrange(1000)))[1].tobytes()
    return world.graph.stamp(CompressedImage(format=format_, data=data))


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@functools.cache
def zeros():
    """A megabyte of zeros as deflated blocks, which can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)


def bomb(width, height, bits=8, colour=0):
    """A PNG of zeros; its file is some thousandth of the image."""
    row_bytes = 1 + width * bits // 8 * {0: 1, 2: 3, 6: 4}[colour]
    megabytes = -(-row_bytes * height // 2**20)
    check = struct.pack(">I", (megabytes * 2**20 % 65521 << 16) + 1)
    body = b"\x78\x9c" + zeros() * megabytes + b"\x03\x00" + check
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", body)
            + png_chunk(b"IEND", b""))  # fmt: skip


def resized_jpeg(chance):
    """A JPEG whose header says another size."""
    data = bytearray(cv2.imencode(".jpg", camera_image(1))[1].tobytes())
    start = data.index(b"\xff\xc0") + 5
    size = (chance.choice((0, 1, 65500, 30000)), chance.choice((0, 1, 65500, 30000)))
    struct.pack_into(">HH", data, start, *size)
    return bytes(data)


@fault(weight=2)
def image_files(world, chance):
    """Files in all formats: whole, cut, of another format than is said, with false sizes."""
    makes = (
        lambda: chance.randbytes(chance.choice((0, 1, 9, 2000))),
        lambda: cv2.imencode(".jpg", camera_image(1))[1].tobytes()[: chance.randint(0, 2000)],
        lambda: cv2.imencode(".png", camera_image(1))[1].tobytes()[: chance.randint(0, 800)],
        lambda: cv2.imencode(chance.choice((".bmp", ".tiff", ".webp", ".ppm", ".hdr")),
                             camera_image(1))[1].tobytes(),
        lambda: struct.pack("<iff", 0, 1e9, 1e9) + bomb(300, 300),
        lambda: struct.pack("<iffii", 1, 1.0, 1.0, 60000, 60000) + bytes(100),
        lambda: resized_jpeg(chance),
        lambda: b"\x89PNG\r\n\x1a\n" + chance.randbytes(100),
    )  # fmt: skip
    with publishing(world, chance, CompressedImage, compressed=True) as publisher:
        for _ in range(10):
            data, format_ = chance.choice(makes)(), chance.choice((*FORMATS, text(chance)))
            send(world, publisher, [jpeg(world, chance, data, format_)])
        yield


@fault()
def bombs(world, chance):
    sizes = ((30000, 30000, 8, 0), (20000, 8000, 16, 0), (16000, 9000, 8, 2), (65000, 60000, 8, 0))
    with publishing(world, chance, CompressedImage, compressed=True) as publisher:
        for data in (bomb(*chance.choice(sizes)), resized_jpeg(chance)):
            send(world, publisher, [jpeg(world, chance, data, chance.choice(FORMATS[:4]))], 0.5)
        yield


@fault()
def flood(world, chance):
    with publishing(world, chance, qos=chance.choice((10, BEST_EFFORT))) as publisher:
        message = image(world, chance)
        for _ in range(chance.choice((100, 400))):
            publisher.publish(world.graph.stamp(message))
        yield


@fault()
def large(world, chance):
    with publishing(world, chance) as publisher:
        pixels = np.resize(camera_image(1), (2160, 3840, 3))
        send(world, publisher, [world.graph.image(pixels) for _ in range(3)], 0.2)
        yield


@fault()
def small(world, chance):
    with publishing(world, chance) as publisher:
        for size in ((1, 1), (1, 500), (500, 1), (2, 2), (3, 7)):
            send(world, publisher, [world.graph.image(np.zeros((*size, 3), np.uint8))])
        yield


@fault()
def several_publishers(world, chance):
    topic = f"{world.namespace}/{chance.choice(world.faulty)}/image"
    with contextlib.ExitStack() as stack:
        kept = (10, BEST_EFFORT, KEPT)
        all_of_them = [
            stack.enter_context(world.publisher(Image, topic, chance.choice(kept)))
            for _ in range(chance.randint(2, 6))
        ]
        for _ in range(20):
            send(world, chance.choice(all_of_them), [image(world, chance)], 0.03)
        yield


@fault()
def restarts(world, chance):
    topic = f"{world.namespace}/{chance.choice(world.faulty)}/image"
    for _ in range(10):
        kind, suffix = chance.choice(((Image, ""), (CompressedImage, "/compressed")))
        with world.publisher(kind, topic + suffix, chance.choice((10, KEPT))) as publisher:
            made = image(world, chance) if kind is Image else jpeg(world, chance)
            send(world, publisher, [made], chance.choice((0.0, 0.2)))
    yield


@fault()
def other_type(world, chance):
    kind = chance.choice((String, CompressedImage))
    topic = f"{world.namespace}/{chance.choice(world.faulty)}/image"
    qos = chance.choice((10, KEPT))
    with world.stranger() as node, world.publisher(kind, topic, qos, node) as publisher:
        made = String(data=text(chance)) if kind is String else jpeg(world, chance)
        send(world, publisher, [made] * 5, 0.2)
        yield


@fault()
def killed_or_frozen(world, chance):
    camera = chance.choice(world.faulty)
    process = world.start_actor("camera", f"{world.namespace}/{camera}/image", 20)
    topic = f"{world.namespace}/{camera}/image"
    world.graph.until(lambda: world.graph.node.count_publishers(topic), "the camera to be killed")
    world.graph.spin(chance.random())
    process.send_signal(chance.choice((signal.SIGSTOP, signal.SIGKILL)))
    yield
    process.kill()
    process.wait()


@fault()
def namesake(world, chance):
    """Another node with the name of this one."""
    name, space = chance.choice((("analyzer", world.namespace), ("healthy", world.namespace)))
    twin = rclpy.create_node(
        name, namespace=space, context=world.graph.context, start_parameter_services=False
    )
    yield
    twin.destroy_node()
