"""PTX as Taichi writes it, translated to C: a kernel becomes a function that runs its threads one after the other.

python translate.py kernels.ptx kernels.so

For ``driver.c``. Barriers and exchange within a warp are not known, since no kernel here has them; what is not known
raises. With ``TVVC_CUDA_BACKWARDS`` set, threads run from the last to the first. With ``TVVC_CUDA_RACES`` set while
modules are translated, memory is watched for what depends on the order of threads, see ``races.h``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

# Registers by the beginning of their names.
KINDS = {"%rd": "b64", "%rs": "b16", "%fd": "f64", "%r": "b32", "%f": "f32", "%p": "pred"}
SPECIAL = {f"%{name}.x": f"thread->{name}" for name in ("tid", "ntid", "ctaid", "nctaid")}
TYPES = {"f32": "float", "f64": "double", "pred": "uint8_t"}
for _bits in (8, 16, 32, 64):
    TYPES |= {f"s{_bits}": f"int{_bits}_t", f"u{_bits}": f"uint{_bits}_t", f"b{_bits}": f"uint{_bits}_t"}
# What an instruction with operands of one type computes.
PLAIN = {
    "mov": "{a}",
    "cvta": "{a}",
    "add": "{a} + {b}",
    "sub": "{a} - {b}",
    "mul": "{a} * {b}",
    "mad": "{a} * {b} + {c}",
    "rem": "{a} % {b}",
    "and": "{a} & {b}",
    "or": "{a} | {b}",
    "xor": "{a} ^ {b}",
    "not": "~{a}",
    "neg": "-{a}",
    "div": "{a} / {b}",
    "min": "{a} < {b} ? {a} : {b}",
    "max": "{a} > {b} ? {a} : {b}",
    "abs": "{a} < 0 ? -{a} : {a}",
    "shl": "{by} >= {bits} ? 0 : {a} << {by}",
    "shr": "{by} >= {bits} ? ({a} < 0 ? -1 : 0) : {a} >> {by}",
    "bfe": "({a} >> {b}) & (((uint64_t)1 << {c}) - 1)",
    "selp": "{test} ? {a} : {b}",
    "popc": "__builtin_popcountll({a})",
    # Threads run one by one: each is the only one of its warp, so that none is exchanged with.
    "activemask": "1u << (thread->tid & 31)",
    "shfl": "failed()",
}
# Of floats; what the hardware only approximates loses the last bits, see ``rough``.
FLOAT = {
    "fma": "fma{f}({a}, {b}, {c})",
    "min": "fmin{f}({a}, {b})",
    "max": "fmax{f}({a}, {b})",
    "abs": "fabs{f}({a})",
    "sqrt": "sqrt{f}({a})",
    "rsqrt": "1 / sqrt{f}({a})",
    "rcp": "1 / {a}",
    "ex2": "exp2{f}({a})",
    "lg2": "log2{f}({a})",
    "sin": "sin{f}({a})",
    "cos": "cos{f}({a})",
}
COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
COMPARE |= {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
ROUND = {"rzi": "trunc", "rmi": "floor", "rpi": "ceil", "rni": "rint"}
ATOMIC = {
    "add": "old + {value}",
    "exch": "{value}",
    "min": "old < {value} ? old : {value}",
    "max": "old > {value} ? old : {value}",
    "and": "old & {value}",
    "or": "old | {value}",
}

PROLOGUE = r"""
#include <math.h>
#include <pmmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { uint32_t tid, ntid, ctaid, nctaid; } Thread;
#ifdef RACES
#include "races.h"
#else
#define saw(at, thread, what)
#endif
#define SAME_BITS(name, to, from) static inline to name(from x) { to y; memcpy(&y, &x, sizeof y); return y; }
SAME_BITS(f32_of_bits, float, uint32_t) SAME_BITS(bits_of_f32, uint32_t, float)
SAME_BITS(f64_of_bits, double, uint64_t) SAME_BITS(bits_of_f64, uint64_t, double)
static inline float rough(float x) { return x - x == 0 ? f32_of_bits(bits_of_f32(x) & ~3u) : x; }
static int failed(void) { fprintf(stderr, "CUDA driver without a card: a kernel failed\n"); abort(); }
/* Conversions saturate, and take NaN for 0, where C leaves the result open. */
#define SATURATED(name, to, low, high) static inline to name(double x) \
    { return x != x ? 0 : x <= low ? (to)low : x >= high ? (to)high : (to)x; }
SATURATED(to_s32, int32_t, -2147483648.0, 2147483647.0) SATURATED(to_u32, uint32_t, 0.0, 4294967295.0)
"""

ENTRY = """
void %(name)s(void **given, unsigned blocks, unsigned threads) {
    unsigned before = _mm_getcsr(), count = blocks * threads, backwards = getenv("TVVC_CUDA_BACKWARDS") != 0;
#ifdef RACES
    launch++, kernel = "%(name)s";
#endif
    _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
    _MM_SET_DENORMALS_ZERO_MODE(_MM_DENORMALS_ZERO_ON);
    for (unsigned n = 0; n < count; n++) {
        unsigned at = backwards ? count - 1 - n : n;
        Thread thread = {at %% threads, threads, at / threads, blocks};
        thread_%(name)s(&thread%(given)s);
    }
    _mm_setcsr(before);
}
"""


def c_name(name: str) -> str:
    """A name of PTX as one of C."""
    return re.sub(r"\W", "_", name)


def kind_of(register: str) -> str:
    """What a register holds."""
    return next(kind for start, kind in KINDS.items() if register.startswith(start))


def operands_of(text: str) -> list[str]:
    """What stands between commas that are in no brackets."""
    return [part.strip() for part in re.split(r",(?![^\[{(]*[\]})])", text) if part.strip()]


class Body:
    """The statements of one function, on their way to C."""

    def __init__(self, functions: set[str]) -> None:
        self.functions = functions
        self.lines: list[str] = []

    def read(self, operand: str, kind: str) -> str:
        """An operand as a value of a type of PTX."""
        if operand in SPECIAL:
            return SPECIAL[operand]
        if operand[:2] in ("0f", "0d"):
            return f"f{32 if operand[1] == 'f' else 64}_of_bits(0x{operand[2:]}ull)"
        if re.fullmatch(r"-?\d+", operand):
            if kind == "pred":
                return str(int(operand != "0"))
            return f"(({TYPES[kind]}){operand}{'ll' if operand[0] == '-' else 'ull'})"
        if operand in self.functions:
            return f"((uint64_t)thread_{c_name(operand)})"
        name = c_name(operand)
        if operand[0] != "%" or operand.startswith("%SP"):
            return f"((uint64_t){name})"
        holds = kind_of(operand)
        if (holds[0] == "f") != (kind[0] == "f"):
            return f"bits_of_{holds}({name})" if holds[0] == "f" else f"{kind}_of_bits({name})"
        return f"(({TYPES[kind]}){name})"

    def write(self, register: str, kind: str, expression: str) -> None:
        """Give a register a value of a type of PTX."""
        holds = "b64" if register.startswith("%SP") else kind_of(register)
        value = f"({TYPES[kind]})({expression})"
        if holds[0] != "f" and kind[0] == "f":
            value = f"bits_of_{kind}({value})"
        elif holds[0] == "f" and kind[0] != "f":
            value = f"{holds}_of_bits({value})"
        self.lines.append(f"{c_name(register)} = {value};")

    def place(self, operand: str, kind: str, number: int = 0) -> str:
        """What lies at ``[base+offset]``, or so many places further on."""
        base, _, offset = operand.strip("[]").partition("+")
        return f"(({TYPES[kind]} *)((uint64_t){c_name(base)} + {offset or 0}))[{number}]"

    def memory(self, name: str, kind: str, operands: list[str], shared: bool) -> None:
        """Loads and stores, of vectors as well; ``shared``: of memory that other threads see."""
        at, registers = operands if name == "st" else operands[::-1]
        for number, register in enumerate(operands_of(registers.strip("{}"))):
            place = self.place(at, kind, number)
            if name == "st":
                self.lines.append(f"{{ {TYPES[kind]} new = {self.read(register, kind)};")
                if shared:
                    self.lines.append(f"saw(&{place}, thread, memcmp(&{place}, &new, sizeof new) ? WRITE : SAME);")
                self.lines.append(f"{place} = new; }}")
            else:
                if shared:
                    self.lines.append(f"saw(&{place}, thread, READ);")
                self.write(register, kind, place)

    def convert(self, parts: list[str], operands: list[str]) -> None:
        """``cvt.rounding.to.from``."""
        to, source = parts[-2:]
        value = self.read(operands[1], source)
        if source[0] == "f" and parts[1] in ROUND:
            value = f"{ROUND[parts[1]]}({value})"
            if to[0] != "f":
                value = f"to_{to}({value})"
        self.write(operands[0], to, value)

    def compute(self, parts: list[str], operands: list[str]) -> None:
        """All that makes one register of others."""
        name, kind = parts[0], parts[-1]
        bits = 1 if kind == "pred" else int(kind[1:])
        values = dict(zip("abc", [self.read(x, kind) for x in operands[1:4]], strict=False))
        given = {"bits": bits, "f": "f" if kind == "f32" else "", **values}
        if "wide" in parts or "hi" in parts:
            wide = "__int128" if bits == 64 else f"int{2 * bits}_t"
            wide = wide if kind[0] == "s" else "unsigned __int128" if bits == 64 else "u" + wide
            product = f"({wide}){values['a']} * ({wide}){values['b']}"
            if "wide" in parts:
                kind = kind[0] + str(2 * bits)
                result = product + (f" + {self.read(operands[3], kind)}" if name == "mad" else "")
            else:
                result = f"(({product}) >> {bits})" + (" + {c}".format(**given) if name == "mad" else "")
        elif kind == "pred" and name == "not":
            result = f"!{values['a']}"
        else:
            if name in ("shl", "shr"):
                given["by"] = self.read(operands[2], "u32")
            if name == "selp":
                given["test"] = c_name(operands[3])
            shape = FLOAT.get(name) if kind[0] == "f" else None
            result = (shape or PLAIN[name]).format(**given)
            if "approx" in parts:
                result = f"rough({result})"
        self.write(operands[0], "b32" if name == "popc" else kind, result)

    def compare(self, parts: list[str], operands: list[str]) -> None:
        """``setp``; comparisons that end in ``u`` hold where an operand is not a number."""
        test, kind = parts[1], parts[-1]
        a, b = self.read(operands[1], kind), self.read(operands[2], kind)
        unordered = f"{a} != {a} || {b} != {b}"
        if test in ("num", "nan"):
            result = f"{'!' if test == 'num' else ''}({unordered})"
        elif kind[0] == "f" and test[:-1] in COMPARE:
            result = f"{a} {COMPARE[test[:-1]]} {b} || {unordered}"
        elif kind[0] == "f" and test == "ne":
            result = f"{a} < {b} || {a} > {b}"
        else:
            result = f"{a} {COMPARE[test]} {b}"
        self.lines.append(f"{c_name(operands[0])} = {result};")

    def atomic(self, parts: list[str], operands: list[str]) -> None:
        """``atom`` and ``red``: since threads run one by one, nothing comes between."""
        action, kind = parts[-2:]
        if parts[0] == "red":
            operands = ["", *operands]
        at = self.place(operands[1], kind)
        if action == "cas":
            new = f"old == {self.read(operands[2], kind)} ? {self.read(operands[3], kind)} : old"
        else:
            new = ATOMIC[action].format(value=self.read(operands[2], kind))
        self.lines.append(f"{{ saw(&{at}, thread, ATOMIC); {TYPES[kind]} old = {at}; {at} = {new};")
        if operands[0] not in ("", "_"):
            self.write(operands[0], kind, "old")
        self.lines.append("}")

    def call(self, text: str) -> None:
        """``call (returned), function, (given), prototype``."""
        found = re.fullmatch(
            r"call(?:\.uni)? (?:\( ?(\w+) ?\) ?, ?)?([%\w.$]+) ?(?:, ?\(([^)]*)\) ?)?(?:, ?\w+)?", text
        )
        assert found, text
        returned, name, given = found.group(1), found.group(2), operands_of(found.group(3) or "")
        passed = ["thread", *([returned] if returned else []), *given]
        if name == "vprintf":
            return
        if name == "__assertfail":
            self.lines.append("failed();")
        elif name[0] == "%":
            shape = ", ".join(["Thread *", *["char *"] * (len(passed) - 1)])
            self.lines.append(f"((void (*)({shape})){c_name(name)})({', '.join(passed)});")
        else:
            self.lines.append(f"thread_{c_name(name)}({', '.join(passed)});")

    def declare(self, text: str) -> None:
        """Registers, local memory, and what is passed to functions."""
        found = re.fullmatch(r"\.reg \.(\w+) (%?\w+?)(?:<(\d+)>)?", text)
        if found:
            kind, name, count = found.groups()
            names = [f"{name}{n}" for n in range(int(count))] if count else [name]
            self.lines.append(f"{TYPES[kind]} {', '.join(c_name(x) + ' = 0' for x in names)};")
            return
        found = re.fullmatch(r"\.(?:param|local) (?:\.align \d+ )?\.[a-z](\d+) ([\w$]+)(?:\[(\d+)\])?", text)
        assert found, text
        bits, name, count = found.groups()
        self.lines.append(f"char {c_name(name)}[{int(count or 1) * int(bits) // 8}] __attribute__((aligned(16)));")

    def statement(self, text: str) -> None:
        """One statement without its semicolon, blanks made single."""
        if text.startswith(".pragma") or ".callprototype" in text:
            return
        if text[0] == ".":
            self.declare(text)
            return
        guard = re.match(r"@(!?)(%p\d+) ", text)
        if guard:
            self.lines.append(f"if ({guard.group(1)}{c_name(guard.group(2))}) {{")
            text = text[guard.end() :]
        opcode, _, rest = text.partition(" ")
        parts = [p for p in opcode.split(".") if p not in ("ftz", "volatile", "v2", "v4")]
        name, operands = parts[0], operands_of(rest)
        if name == "call":
            self.call(text)
        elif name == "bra":
            self.lines.append(f"goto {c_name(operands[0])};")
        elif name in ("ret", "exit"):
            self.lines.append("return;" if name == "ret" else "failed();")
        elif name in ("ld", "st"):
            self.memory(name, parts[-1], operands, "param" not in parts and "local" not in parts)
        elif name == "cvt":
            self.convert(parts, operands)
        elif name == "setp":
            self.compare(parts, operands)
        elif name in ("atom", "red"):
            self.atomic(parts, operands)
        elif name != "membar":
            self.compute(parts, operands)
        if guard:
            self.lines.append("}")

    def translated(self, text: str) -> str:
        """All statements between the outer braces."""
        pieces = r"\$L__BB\w+:|[{}](?=\s)|[^;{}]*(?:\{[^;{}]*\}[^;{}]*)*;"
        for piece in re.findall(pieces, re.sub(r"(\$L__BB\w+:)", r"\1;", text)):
            piece = " ".join(piece.rstrip(";").split())
            if piece.endswith(":"):
                self.lines.append(f"{c_name(piece[:-1])}: ;")
            elif piece in ("{", "}"):
                self.lines.append(piece)
            elif piece:
                self.statement(piece)
        return "\n    ".join(self.lines)


def functions_of(text: str) -> list[tuple[bool, str, str, str]]:
    """(is a kernel, name, head, body) of every function that has a body."""
    found = []
    for match in re.finditer(r"^(?:\.visible |\.weak )?\.(entry|func)\b", text, re.MULTILINE):
        end = re.compile(r"[{;]").search(text, match.end())
        assert end
        head = text[match.end() : end.start()]
        name = re.match(r"\s*(?:\([^)]*\)\s*)?([\w$]+)", head)
        assert name
        if end.group() == "{":
            depth, at = 1, end.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            found.append((match.group(1) == "entry", name.group(1), head, text[end.end() : at - 1]))
    return found


def translate(ptx: str) -> str:
    """A module of PTX as a file of C."""
    text = re.sub(r"//[^\n]*", "", ptx)
    out = [PROLOGUE]
    constants = r"^(?:\.visible )?\.global \.align (\d+) \.b8 ([\w$]+)\[(\d+)\](?: = (\{[^}]*\}))?;"
    for align, name, count, values in re.findall(constants, text, re.MULTILINE):
        start = f" = {values}" if values else ""
        out.append(f"static unsigned char {c_name(name)}[{count}] __attribute__((aligned({align}))){start};")
    found = functions_of(text)
    names = {name for _, name, _, _ in found}
    bodies = []
    for kernel, name, head, body in found:
        params = [c_name(x) for x in re.findall(r"\.param\s+(?:\.align\s+\d+\s+)?\.\w+\s+([\w$]+)", head)]
        signature = ", ".join(["Thread *thread", *(f"char *{p}" for p in params)])
        out.append(f"static void thread_{c_name(name)}({signature});")
        bodies.append(f"static void thread_{c_name(name)}({signature}) {{\n    {Body(names).translated(body)}\n}}")
        if kernel:
            given = "".join(f", given[{n}]" for n in range(len(params)))
            bodies.append(ENTRY % {"name": c_name(name), "given": given})
    return "\n".join(out + bodies)


def build(source: Path, library: Path) -> None:
    """Make a library of a module. An unfinished one never lies under its name."""
    code, made = library.with_suffix(".c"), library.with_suffix(f".{os.getpid()}")
    code.write_text(translate(source.read_text().rstrip("\0")), encoding="utf-8")
    flags = "-w -O1 -fwrapv -fno-strict-aliasing -ffp-contract=off -shared -fPIC".split()
    if os.environ.get("TVVC_CUDA_RACES"):
        flags += ["-DRACES", f"-I{Path(__file__).parent}"]
    subprocess.run(["cc", *flags, "-o", made, code, "-lm"], check=True)
    made.rename(library)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
