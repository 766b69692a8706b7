"""A small web server: its files, and at /who what it finds itself to be."""

import argparse
import http.server
import json
import os
import signal
import socket
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/who":
            return super().do_GET()
        facts = {
            "user": os.getuid(),
            "group": os.getgid(),
            "groups": os.getgroups(),
            "hostname": socket.gethostname(),
            "directory": os.getcwd(),
            "greeting": os.environ.get("APP_GREETING"),
            "peer": self.client_address[0],
        }
        body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, text, *values):
        print(f"{self.client_address[0]} {text % values}", flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port):
        self.address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        super().__init__(("::" if self.address_family == socket.AF_INET6 else "", port), Handler)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def stop(number, _frame):
    print(f"stopped by {signal.Signals(number).name}", flush=True)
    sys.exit(0)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=8000)
    port = arguments.parse_args().port
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    with Server(port) as server:
        print(f"listening on port {port}", flush=True)
        server.serve_forever()


main()
