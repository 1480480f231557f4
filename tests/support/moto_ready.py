"""moto_ready.py [SOCKET]: moto, loaded once for all tests.

Loading it takes 1.4 s of a processor, and some fifty tests want one each. Whoever connects to SOCKET gets an empty moto of its own
on the loopback: a fork of this process, which sends the number of its port on a line once it listens, and ends with the connection.
Ids that it makes up are the same in each. Without SOCKET there is one moto, and its connection is the standard input.
"""

import logging
import os
import signal
import socket
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import Client

# A backend is loaded at the first request for it. These read, and find nothing.
SERVICES = {"iot": "/things", "iam": "/", "sts": "/"}


def load():
    application = DomainDispatcherApplication(create_backend_app)
    for service, path in SERVICES.items():
        signed = f"AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=a"
        Client(application).get(path, headers={"Authorization": signed})
    return application


def serve(connection, application):
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    connection.sendall(f"{server.port}\n".encode())

    def end_with_it():
        connection.recv(1)
        os._exit(0)

    threading.Thread(target=end_with_it, daemon=True).start()
    server.serve_forever()


def main():
    # Not each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = load()
    if not sys.argv[1:]:
        serve(socket.socket(fileno=sys.stdin.fileno()), application)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            serve(connection, application)
        connection.close()


main()
