"""Both sides of a WebSocket by the library `websockets`.

    serve                                             an echo on a port of its own, which it prints; each path that is opened is a line
    talk URI [CA CERTIFICATE KEY]                     what any WebSocket does: sizes, pieces, pings, both ways of closing
    open URI CA [CERTIFICATE KEY]                     how opening it ends
"""

import ssl
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect
from websockets.sync.server import serve

# Around the lengths that a frame writes in 1, 3 and 9 bytes (RFC 6455 §5.2), and past every window and buffer on the way.
SIZES = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20]


def echo(connection):
    print("opened", connection.request.path, flush=True)
    try:
        for message in connection:
            if message == "go away":
                connection.close(4001, "enough")
                return
            connection.send(message)
    except ConnectionClosed:
        pass
    print("closed", connection.close_code, connection.close_reason, flush=True)


def run():
    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


def options(ca=None, certificate=None, key=None):
    if ca is None:
        return {}
    context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return {"ssl": context}


def talk(uri, *identity):
    for compression in ["deflate", None]:
        more = {"max_size": None, "compression": compression, "open_timeout": 30}
        with connect(uri, **options(*identity), **more) as socket:
            for size in SIZES:
                for message in ["ä" * (size // 2), b"\x00\xff" * (size // 2)]:
                    socket.send(message)
                    assert socket.recv(timeout=60) == message, size
            # In pieces, with a ping between two of them.
            def pieces():
                yield "one "
                assert socket.ping("between").wait(timeout=30)
                yield "two "
                yield "three"

            socket.send(pieces())
            assert socket.recv(timeout=30) == "one two three"
            for number in range(500):
                socket.send(str(number))
            assert [socket.recv(timeout=30) for _ in range(500)] == [
                str(number) for number in range(500)
            ]
            socket.close(4002, "bye")
        with connect(uri, **options(*identity), **more) as socket:
            socket.send("go away")
            try:
                socket.recv(timeout=30)
            except ConnectionClosed as closed:
                print(closed.rcvd.code, closed.rcvd.reason)


def attempt(uri, *identity):
    try:
        with connect(uri, **options(*identity), open_timeout=30):
            print("opened")
    except InvalidStatus as refused:
        print(refused.response.status_code)
    except (OSError, WebSocketException) as failed:
        while failed is not None:
            print(type(failed).__name__, failed)
            failed = failed.__cause__ or failed.__context__


{"serve": run, "talk": talk, "open": attempt}[sys.argv[1]](*sys.argv[2:])
