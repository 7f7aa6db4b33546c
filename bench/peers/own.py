"""What is about Countersign alone: the same build with much and with little, in turns."""
import shutil, statistics, subprocess, time
from pathlib import Path

from processes import LOAD_CORE, RUN, SERVER_CORE, measured, note, pss, start, stop, threads_cpu, wait_port
from servers import HANDSHAKES, LOGS, REQUESTS, settings, template

median = statistics.median


class Variant:
    """A Countersign with a configuration of its own, beside those that it is compared with."""

    def __init__(self, own, name, core=SERVER_CORE, **values):
        self.name = name
        self.config, self.addresses = own.configuration(name, **values)
        self.addr = self.addresses["http"]
        self.state = str(RUN / f"state-{name}")
        self.command = [own.binary, "run", "-c", self.config, "--state", self.state]
        self.process = start(self.command, core, name, LOGS)
        if not wait_port(self.addr, self.process):
            raise RuntimeError(f"{name} did not start, see {RUN}/{name}.log")


class Own:
    def __init__(self, binary, ports, backend, options):
        self.binary, self.ports, self.backend, self.o = binary, ports, backend, options

    def configuration(self, name, **values):
        addr, tcp_addr = self.ports.pair()
        values = dict(addr=addr, tcp_addr=tcp_addr, **settings(self.o, **values))
        return template("countersign.toml.in", f"{name}.toml", **values), {"http": addr, "tcp": tcp_addr}

    def per_unit(self, variants, args):
        """CPU seconds of the server a unit, of each variant, in turns."""
        runs = {v.name: [] for v in variants}
        for round_ in range(self.o.rounds):
            for v in variants if round_ % 2 == 0 else reversed(variants):
                r = measured(v.addr, v.process.pid, self.backend, args, self.o.seconds, self.o.max_foreign)
                if not r.get("per_server_cpu_second"):
                    raise RuntimeError(f"{v.name}: nothing was served: {r['errors']}")
                runs[v.name].append(1e6 / r["per_server_cpu_second"])
        return runs

    def compared(self, less, more, args, unit, after=lambda: None):
        """More against less: their medians, and what there is to see of both after the load."""
        try:
            runs = self.per_unit([less, more], args)
            seen = after()
        finally:
            stop(less.process, more.process)
        a, b = (median(runs[v.name]) for v in (less, more))
        return {"figure": b, "unit": f"CPU µs/{unit}", "against": a, "runs": runs}, seen

    def revoked(self):
        none, many = Variant(self, "revoked-none", revoked=0), Variant(self, "revoked-many", revoked=self.o.revoked)
        cpu, sizes = self.compared(none, many, HANDSHAKES, "handshake", lambda: [pss(v.process.pid) for v in (none, many)])
        memory = {"figure": (sizes[1] - sizes[0]) / 1e6, "unit": f"MB for {self.o.revoked:,} serial numbers", "runs": sizes}
        return {"revoked": cpu, "revoked memory": memory}

    def rules(self):
        few, many = Variant(self, "rules-few", rules=10), Variant(self, "rules-many", rules=self.o.rules)
        return {"rules": self.compared(few, many, REQUESTS, "request")[0]}

    def workers(self):
        """Both may use both cores, and so may the load."""
        both = f"{SERVER_CORE},{LOAD_CORE}"
        one, two = Variant(self, "workers-one", both, workers=1), Variant(self, "workers-two", both, workers=2)
        before = threads_cpu(two.process.pid, "gateway-")
        cpu, after = self.compared(one, two, HANDSHAKES, "handshake", lambda: threads_cpu(two.process.pid, "gateway-"))
        used = [after[name] - before.get(name, 0) for name in after]
        split = {"figure": 100 * max(used) / sum(used), "unit": "% of the CPU of two workers at the busier one", "runs": after}
        return {"two workers": cpu, "split": split}

    def starts(self):
        """From the start of the process until it says that it serves, with a CA and a state folder that are there already."""
        state = str(RUN / "state-start")
        config, _ = self.configuration("start")
        if not Path(state).exists():
            made = subprocess.run([self.binary, "init", "--state", state], capture_output=True, text=True, timeout=60)
            if made.returncode:
                note(f"start: without a CA: {made.stderr.strip()}")
        times = []
        for _ in range(self.o.rounds * 2 + 1):
            begun = time.monotonic()
            p = start([self.binary, "run", "-c", config, "--state", state, "--json"], SERVER_CORE, "start",
                      LOGS, subprocess.PIPE)
            ready = p.stdout.readline()
            times.append(1000 * (time.monotonic() - begun))
            stop(p)
            if not ready.startswith(b"{"):
                raise RuntimeError(f"it did not start, see {RUN}/start.log")
        # The first has made what the others find.
        return {"start": {"figure": median(times[1:]), "unit": "ms", "runs": times[1:]}}

    def size(self):
        stripped = RUN / "countersign.stripped"
        shutil.copy(self.binary, stripped)
        subprocess.run(["strip", str(stripped)], check=True, timeout=60)
        size = stripped.stat().st_size
        stripped.unlink()
        return {"size": {"figure": size / 1e6, "unit": "MB", "runs": [size]}}
