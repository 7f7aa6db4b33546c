"""Servers and loads as processes: started on their core, awaited, measured, and ended by their id."""
import json, os, resource, signal, socket, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("BENCH_BIN", ROOT / "target/release"))
PKI = Path(os.environ.get("BENCH_PKI", ROOT / "run/pki"))
RUN = Path(os.environ.get("BENCH_RUN", ROOT / "run"))
BACKEND = "127.0.0.1:9000"
SERVER_CORE, LOAD_CORE = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")
NICE = 0                                                      # set by --nice
STARTED = []


def taken(addr):
    """Whether somebody else listens there, who would be measured in place of what is started."""
    try:
        socket.create_connection(split(addr), 1).close()
        return True
    except OSError:
        return False


def split(addr):
    host, port = addr.split(":")
    return host, int(port)


def start(command, core, name, env=None, stdout=None):
    log = open(RUN / f"{name}.log", "w")
    p = subprocess.Popen(["taskset", "-c", core, *command], stdout=stdout or log, stderr=log, start_new_session=True,
                         env={**os.environ, "HOME": str(RUN), **(env or {})})
    STARTED.append(p)
    prefer(p.pid)
    return p


def prefer(pid):
    """Applies --nice. Each session is a scheduling group of its own, so the group's value counts."""
    if NICE:
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))


def stop(*processes):
    """Ends processes that were started here."""
    for p in processes:
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGTERM)
    end = time.time() + 5
    for p in processes:
        try:
            p.wait(max(0.1, end - time.time()))
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()


def wait_port(addr, p, seconds=60):
    end = time.time() + seconds
    while time.time() < end and p.poll() is None:
        if taken(addr):
            return True
        time.sleep(0.1)
    return False


def load(addr, pid, args, seconds, extra=(), core=LOAD_CORE):
    command = ["taskset", "-c", core, str(BIN / "mtls-load"), *args, "--addr", addr, "--pid", str(pid), "--seconds",
               str(seconds), "--ca", f"{PKI}/root.pem", *extra]
    if "--cert" not in extra:
        command += ["--cert", f"{PKI}/client.pem", "--key", f"{PKI}/client.key"]
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    prefer(p.pid)
    try:
        out, err = p.communicate(timeout=seconds + 60)
    except BaseException:
        p.kill()
        p.communicate()
        raise
    if p.returncode:
        raise RuntimeError(f"{' '.join(command)}: {err.strip()}")
    return json.loads(out)


def busy():
    f = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (f[0] + f[1] + f[2]) / TICK, f[7] / TICK


def tree_cpu(pid):
    total, todo = 0.0, [pid]
    while todo:
        p = todo.pop()
        try:
            f = Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(f[11]) + int(f[12])) / TICK
            for t in os.listdir(f"/proc/{p}/task"):
                todo += [int(c) for c in Path(f"/proc/{p}/task/{t}/children").read_text().split()]
        except (OSError, ValueError):
            pass
    return total


def threads_cpu(pid, prefix):
    """CPU seconds of each thread whose name begins so."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, stat = (task / "comm").read_text().strip(), (task / "stat").read_text().rsplit(")", 1)[1].split()
        if name.startswith(prefix):
            found[name] = (int(stat[11]) + int(stat[12])) / TICK
    return found


def pss(pid):
    """Bytes of memory, what it shares with others in proportion."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def measured(addr, pid, backend, args, seconds, limit, extra=(), core=LOAD_CORE):
    """One run; repeated (twice at most) when neighbours used too much CPU meanwhile."""
    for attempt in range(3):
        pids = {pid, backend.pid}
        before, kids = busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
        own, t = sum(map(tree_cpu, pids)), time.time()
        r = load(addr, pid, args, seconds, extra, core)
        wall, after, kids2 = time.time() - t, busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = sum(map(tree_cpu, pids)) - own + sum(getattr(kids2, k) - getattr(kids, k) for k in ("ru_utime", "ru_stime"))
        r["foreign_cpu_share"] = round(max(0.0, (after[0] - before[0] - ours) / wall), 3)
        r["steal_share"] = round((after[1] - before[1]) / wall, 3)
        r["attempt"] = attempt
        # Neighbours change no memory, and a second load on the same process would find its memory grown already.
        if args[0] == "idle" or r["foreign_cpu_share"] + r["steal_share"] <= limit:
            break
        time.sleep(1)
    return r


def note(text):
    print(f"# {text}", file=sys.stderr, flush=True)
