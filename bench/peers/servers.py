"""The servers that are measured, each with its configuration, and the loads that they are given."""
import itertools, os, shutil, string, subprocess, sys
from pathlib import Path

from processes import BACKEND, BIN, LOAD_CORE, PKI, ROOT, RUN, note, start, taken, wait_port

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("BENCH_VENV", RUN / "venv"))        # holds Envoy
COUNTERSIGN = os.environ.get("COUNTERSIGN", str(ROOT.parent / "target/dist/countersign"))
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
LOGS = {"COUNTERSIGN_LOG": os.environ.get("COUNTERSIGN_LOG", "info,access=debug")}

NEW, PQ = ["--new-clients", str(PKI)], ["--kx", "x25519mlkem768"]
HANDSHAKES, IDLE = ["handshakes", "--conns", "32"], ["idle", "--hold", "{hold}", "--conns", "16"]
REQUESTS = ["requests", "--conns", "64"]
BULK = lambda direction: ["throughput", "--direction", direction, "--conns", "4"]

# metric: (arguments of mtls-load, what one unit is, scale, which of a peer's ports)
METRICS = {
    "handshakes": (HANDSHAKES, "handshakes", 1, "http"),
    "new-clients": (HANDSHAKES + NEW, "handshakes of new clients", 1, "http"),
    "conn+get": (HANDSHAKES + ["--get"], "connections with a GET", 1, "http"),
    "pq": (HANDSHAKES + PQ, "X25519MLKEM768 handshakes", 1, "http"),
    "pq-new-clients": (HANDSHAKES + PQ + NEW, "X25519MLKEM768 handshakes of new clients", 1, "http"),
    "resumed": (["resumed", "--conns", "32"], "resumed handshakes", 1, "http"),
    "requests": (REQUESTS, "HTTP/1.1 requests", 1, "http"),
    "h2": (["requests", "--conns", "8", "--h2-streams", "16"], "HTTP/2 requests", 1, "http"),
    "download": (BULK("download"), "MB", 1e6, "http"),
    "upload": (BULK("upload"), "MB", 1e6, "http"),
    "latency": (["openloop", "--conns", "32", "--rate", "1500"], "µs at 1,500 requests/s", 1, "http"),
    "idle": (IDLE + ["--get"], "bytes/connection", 1, "http"),
    "tcp-messages": (REQUESTS, "messages there and back", 1, "tcp"),
    "tcp-download": (BULK("download"), "MB", 1e6, "tcp"),
    "tcp-upload": (BULK("upload"), "MB", 1e6, "tcp"),
    "tcp-idle": (IDLE + ["--get"], "bytes/connection", 1, "tcp"),
}


def template(name, out, **values):
    text = string.Template((HERE / name).read_text()).safe_substitute(run=RUN, pki=PKI, backend=BACKEND, **values)
    path = RUN / out
    path.write_text(text)
    return str(path)


class Ports:
    """Of each server one for requests and one for bytes, which nobody has."""

    def __init__(self, first):
        self.numbers = itertools.count(first)

    def pair(self):
        addresses = (f"127.0.0.1:{number}" for number in self.numbers)
        free = (addr for addr in addresses if not taken(addr))
        return next(free), next(free)


def builtin(ports, options):
    """name → (command, addresses, environment), in the order of the tables."""
    peers = {}

    def peer(name, command, *config, env=None, **values):
        addr, tcp_addr = ports.pair()
        values = dict(addr=addr, tcp_addr=tcp_addr, port=addr.split(":")[1], tcp_port=tcp_addr.split(":")[1],
                      backend_port=BACKEND.split(":")[1], **values)
        if name == "nginx":
            with_stream = STREAM_MODULE.exists()
            values["load_stream"] = f"load_module {STREAM_MODULE};" if with_stream else ""
            values["stream"] = Path(template("nginx-stream.in", "nginx-stream", **values)).read_text() if with_stream else ""
        files = [template(f, f.removesuffix(".in"), **values) for f in config]
        command = [part.format(*files, addr=addr, tcp_addr=tcp_addr) for part in command]
        if shutil.which(command[0]):
            peers[name] = (command, {"http": addr, "tcp": tcp_addr}, env or {})
        else:
            note(f"{name}: {command[0]} not found; --install installs what is absent")

    peer("nginx", ["nginx", "-p", str(RUN), "-c", "{0}"], "nginx.conf.in")
    peer("haproxy", ["haproxy", "-db", "-f", "{0}"], "haproxy.cfg.in")
    envoy = VENV / "bin/envoy"
    peer("envoy", [str(envoy) if envoy.exists() else "envoy", "-c", "{0}", "--concurrency", "1", "--disable-hot-restart",
                   "--log-level", "error"], "envoy.yaml.in")
    peer("reference", [str(BIN / "reference"), "--listen", "{addr}", "--tcp-listen", "{tcp_addr}", "--backend", BACKEND,
                       "--cert", f"{PKI}/server.pem", "--key", f"{PKI}/server.key", "--ca", f"{PKI}/root.pem"])
    peer("countersign", [COUNTERSIGN, "run", "-c", "{0}", "--state", str(RUN / "countersign-state")], "countersign.toml.in",
         env=LOGS, **settings(options))
    return peers


def settings(options, workers=1, rules=10, revoked=None):
    """What is put into the configuration of Countersign; the last rule is the one that admits the load."""
    revoked = options.few_revoked if revoked is None else revoked
    lists = f'intermediates = "{PKI}/intermediate.pem"\ncrl = ["{PKI}/crl-{revoked}.der"]' if revoked else ""
    others = "".join(f'{{ cn = "service-{n}" }}, ' for n in range(1, rules))
    return dict(workers=workers, rules=others + '{ dns = "*.bench.local" }', revocation=lists)


def make_room(options):
    """An empty folder for logs, and the keys, certificates and revocation lists of a run."""
    for log in RUN.glob("*.access"):
        log.unlink()
    (RUN / "nginx-tmp").mkdir(parents=True, exist_ok=True)
    os.chmod(RUN / "nginx-tmp", 0o777)
    if not all((PKI / f).exists() for f in (f"crl-{options.few_revoked}.der", f"crl-{options.revoked}.der")):
        counts = [part for count in {options.few_revoked, options.revoked} for part in ("--revoked", str(count))]
        subprocess.run([str(BIN / "mkpki"), str(PKI), *counts], check=True, timeout=600)


def start_backend():
    if taken(BACKEND):
        sys.exit(f"error: somebody else listens on {BACKEND}, where the backend belongs\nhint: it may be another run of this")
    backend = start([str(BIN / "backend"), "--http", BACKEND], LOAD_CORE, "backend")
    if not wait_port(BACKEND, backend):
        sys.exit("backend did not start")
    return backend
