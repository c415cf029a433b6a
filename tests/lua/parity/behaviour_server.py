"""The small HTTP server that behaviour.lua talks to: python behaviour_server.py PORT"""

import socket
import sys
import threading
import time


def reply(status, body=b"", headers=()):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def serve(connection):
    with connection:
        stream = connection.makefile("rb")
        while line := stream.readline():
            method, path, _ = line.decode().split()
            headers = {}
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, value = line.decode().split(":", 1)
                headers[name.strip().lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            if path == "/ok":
                connection.sendall(reply("200 OK", b'{"a":1}', ["X-Answer: yes"]))
            elif path.startswith("/echo"):
                shown = [
                    method,
                    path,
                    headers.get("authorization", "-"),
                    headers.get("x-q", "-"),
                    headers.get("content-type", "-"),
                    body.decode(),
                ]
                connection.sendall(reply("200 OK", " | ".join(shown).encode()))
            elif path == "/500":
                connection.sendall(reply("500 Internal Server Error", b"<html>oops</html>"))
            elif path == "/slow":
                time.sleep(1)
                connection.sendall(reply("200 OK", b"late"))
            elif path == "/cut":
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":')
                return
            elif path == "/redirect":
                connection.sendall(reply("302 Found", b"", ["Location: /ok"]))
            else:
                connection.sendall(reply("404 Not Found", b"nothing"))


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
