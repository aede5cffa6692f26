"""The program of a pause container: it waits for ever. Nothing is downloaded, and no compiler is needed.

A container lives as long as its first process, and its network namespace as long as the container. The programs below
are whole static ELF files of less than 200 bytes. Their source::

    x86-64   loop:  mov eax, 34        pause(2)
                    syscall
                    jmp loop

    arm64    loop:  movz x0..x4, #0    there is no pause(2): ppoll(NULL, 0, NULL, NULL, 0) waits for a signal as well
                    movz x8, #73
                    svc  #0
                    b    loop
"""

from __future__ import annotations

import struct

NAME = "taskrunner-pause"
"""The file in the image. It is also the command line of the process, by which it is recognized."""

_X86_64, _AARCH64 = 62, 183
"""`e_machine` of an ELF file."""
_CODE = {
    "amd64": (_X86_64, bytes.fromhex("b822000000 0f05 ebf7")),
    "arm64": (
        _AARCH64,
        struct.pack(
            "<8I",
            *(0xD2800000 | register for register in range(5)),
            0xD2800000 | 73 << 5 | 8,
            0xD4000001,
            0x14000000 | (-7 & 0x3FFFFFF),  # seven instructions back
        ),
    ),
}
"""By the architecture, as Docker names it."""
_HEADER = struct.Struct("<4s5B7xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_BASE = 0x400000
_ALIGNMENT = 0x10000
"""The largest page of these machines."""
_EXECUTABLE, _LOAD, _READ_AND_EXECUTE = 2, 1, 5
_64_BIT, _LITTLE_ENDIAN, _VERSION, _SYSTEM_V = 2, 1, 1, 0


def pause_program(architecture: str) -> bytes:
    """The file. Raises KeyError for another architecture than amd64 and arm64."""
    machine, code = _CODE[architecture]
    start = _HEADER.size + _SEGMENT.size
    size = start + len(code)
    header = _HEADER.pack(
        b"\x7fELF",
        *(_64_BIT, _LITTLE_ENDIAN, _VERSION, _SYSTEM_V, 0),
        *(_EXECUTABLE, machine, _VERSION),
        *(_BASE + start, _HEADER.size, 0, 0),
        *(_HEADER.size, _SEGMENT.size, 1, 0, 0, 0),
    )
    return header + _SEGMENT.pack(_LOAD, _READ_AND_EXECUTE, 0, _BASE, _BASE, size, size, _ALIGNMENT) + code
