"""What `perf script` prints of each sample, as shares of CPU by part and as a flame graph (SVG, without scripts)."""
import html, re
from collections import Counter

KERNEL, TLS, HTTP, TOKIO, MEMORY, OWN, OTHER = PARTS = (
    "kernel", "TLS and cryptography", "HTTP", "tokio", "memory", "Countersign", "other")
COLOURS = dict(zip(PARTS, ("#e9a070", "#7db4dc", "#8fcf8f", "#c3aee6", "#f0d264", "#f08080", "#cccccc")))
CRATES = {
    TLS: {"rustls", "rustls_pki_types", "aws_lc_rs", "webpki"},
    HTTP: {"hyper", "hyper_util", "h2", "http", "http_body", "http_body_util", "httparse", "httpdate"},
    TOKIO: {"tokio", "tokio_util", "mio", "futures_core", "futures_util"},
}
# Part of every stack, and of no interest.
PLUMBING = re.compile(r"((core|std|alloc)::|entry_SYSCALL|do_syscall|x64_sys_call|__x86_indirect|el0|invoke_syscall|do_el0|__rust_begin|\[unknown\])")
# The system's allocator and mimalloc; copies; what Rust calls.
ALLOCATOR = re.compile(r"_*(mi_|(libc_|GI_+)*(malloc|calloc|realloc|free|memalign|int_)|mem(cpy|move|set|cmp|chr)|rust_(alloc|dealloc|realloc))")
WIDTH, ROW, LEGEND, LEAST = 1200, 16, 48, 0.003


def samples(script):
    """Thread and frames of each sample, from the outermost to the innermost; a frame is (name, part or None)."""
    for block in re.split(r"\n\s*\n", script):
        thread, *lines = block.strip().splitlines() or [""]
        frames = [frame for line in reversed(lines) if (frame := parsed(line.strip()))]
        if lines:
            yield thread.strip(), [f for n, f in enumerate(frames) if not n or f != frames[n - 1]]


def parsed(line):
    """`address symbol (object)`."""
    _, _, symbol = line.partition(" ")
    symbol, _, object_ = symbol.rpartition(" (")
    object_ = object_.rstrip(")")
    if object_.startswith("[") and object_ not in ("[unknown]", "[vdso]"):
        return None if PLUMBING.match(symbol) else (symbol, KERNEL)
    name = short(symbol)
    return None if PLUMBING.match(name) else (name, part(name, object_))


def short(symbol):
    """`<A<B> as C>::d::{{closure}}` → `A::d`."""
    symbol = re.sub(r"::\{\{.*?\}\}|\{\{.*?\}\}", "", symbol.replace("->", ""))
    while symbol != (symbol := re.sub(r"([\w:]?)<([^<>]*)>", unbracketed, symbol)):
        pass
    return re.sub(r"^(&|mut |dyn |\*const |\*mut )+", "", symbol).replace("::::", "::")


def unbracketed(found):
    before, inner = found.groups()
    if before:
        return before
    type_, _, trait = inner.partition(" as ")
    return trait if len(type_) == 1 else type_


def part(name, object_):
    """Whose CPU time it is, if that is not its caller's."""
    crate, is_path, _ = name.partition("::")
    if ALLOCATOR.match(name):
        return MEMORY
    if crate.startswith("countersign"):
        return OWN
    if is_path:
        return next((p for p, crates in CRATES.items() if crate in crates), None)
    # Names of C and assembly in the program itself are those of AWS-LC.
    return None if re.search(r"/(libc|libm|ld-linux)|\[", object_) else TLS


def shares(stacks):
    """part → share of all samples, and the same of each system call."""
    parts, calls = Counter(), Counter()
    for _, frames in stacks:
        whose = next((p for _, p in reversed(frames) if p), OTHER)
        parts[whose] += 1 / len(stacks)
        if whose == KERNEL:
            calls[call(next(name for name, p in frames if p == KERNEL))] += 1 / len(stacks)
    return parts, calls


def call(outermost):
    if outermost.startswith("asm_"):
        return "page faults" if "page_fault" in outermost else "interrupts"
    return re.sub(r"^_*(x64_sys_|arm64_sys_|se_sys_|sys_|do_|ksys_)|\..*", "", outermost)


def tree(stacks):
    """name → [samples, part, what it calls]."""
    root = {}
    for thread, frames in stacks:
        level = root
        for name, whose in [(thread, None), *frames]:
            node = level.setdefault(name, [0, whose or OTHER, {}])
            node[0] += 1
            level = node[2]
    return root


def svg(title, stacks):
    parts, _ = shares(stacks)
    boxes, labels, deepest = {p: [] for p in PARTS}, [], 0

    def draw(level, left, depth):
        nonlocal deepest
        for name, (count, whose, callees) in sorted(level.items(), key=lambda item: -item[1][0]):
            share = count / len(stacks)
            if share < LEAST:
                break
            deepest, width, y = max(deepest, depth), WIDTH * share, -ROW * (depth + 1)
            boxes[whose].append(f'<rect x="{left:.1f}" y="{y}" width="{width - 0.4:.1f}" height="15"><title>{escaped(name)} '
                                f'{100 * share:.1f} %</title></rect>')
            if (room := int(width / 6.3)) >= 4:
                labels.append(f'<text x="{left + 2:.1f}" y="{y + 11}">{escaped(fitting(name, room))}</text>')
            draw(callees, left, depth + 1)
            left += width

    draw(tree(stacks), 0.0, 0)
    height = ROW * (deepest + 1) + LEGEND
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-height} {WIDTH} {height}" font-family="monospace" font-size="10.5">',
           f'<rect x="0" y="{-height}" width="{WIDTH}" height="{height}" fill="#fff"/>',
           f'<text x="4" y="{16 - height}" font-size="13">{escaped(title)}</text>']
    x, y = 4, 26 - height
    for p in PARTS:
        label = f"{p} {100 * parts[p]:.1f} %"
        out.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{COLOURS[p]}"/><text x="{x + 15}" y="{y + 10}">{label}</text>')
        x += 35 + 7 * len(label)
    out += [f'<g fill="{COLOURS[p]}">\n' + "\n".join(boxes[p]) + "\n</g>" for p in PARTS if boxes[p]]
    return "\n".join([*out, '<g pointer-events="none">', *labels, "</g>", "</svg>", ""])


def fitting(name, room):
    """The end of a name says more than its beginning."""
    while len(name) > room and "::" in name:
        name = name.partition("::")[2]
    return name if len(name) <= room else name[:room - 1] + "…"


def escaped(text):
    return html.escape(text, quote=False)
