"""A fault that AddressSanitizer must report in the extension a3c_fast_steps: it writes into memory that was freed."""

import ctypes

import numpy as np
from a3c_fast_steps import Stepper

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
address = libc.malloc(ctypes.c_size_t(12))
rows = (ctypes.c_ubyte * 12).from_address(address)
shown = np.zeros(3, np.float32)
stepper = Stepper(
    (lambda _: (shown, 0.5, False, False, {}),), bytearray(1), memoryview(np.zeros(1)), bytearray(1), rows, "f", (3,)
)
stepper.step([0], 0)
libc.free(address)
stepper.step([0], 0)
print("nothing stopped it")
