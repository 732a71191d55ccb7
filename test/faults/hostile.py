"""Texts that try to be something else than text."""

MARKED = "fault-mark"
PIECES = (
    "\n[ERROR] [1.0] [analyzer]: forged", "\x1b[2J\x1b]0;title\x07", "\u202egnp.exe", "\0", "\r",
    "\x9b31m", "\u2028", "\ud83d\ude00", "{0.__class__}", "%s%n", "../../etc/passwd", "$(reboot)",
    "<script>alert(1)</script>", "'; DROP TABLE words; --", "\t", "\u200b", "e\u0301" * 50,
)  # fmt: skip


def text(chance):
    """A hostile text; some are long."""
    pieces = [chance.choice(PIECES) for _ in range(chance.randint(1, 4))]
    if chance.random() < 0.15:
        pieces.append(chance.choice("Ax\u00e4") * chance.choice((300, 100_000, 2_000_000)))
    chance.shuffle(pieces)
    # The middleware carries no lone surrogates.
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
