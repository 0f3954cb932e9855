"""Named random streams: one generator per part of the phantom.

A part that draws one number more must not reshuffle the others, so each part asks for a
stream by name instead of passing one generator around.
"""

import zlib

import numpy as np


def stream(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """Return the random generator of one named part of one patient.

    Parameters
    ----------
    seed : int
        The patient's seed, not negative.
    name : str
        What the numbers are for. CRC-32 turns it into an integer, since ``hash`` of a
        string differs between processes.
    index : int
        Distinguishes repetitions of the part (the film of a study).
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode()), index])
    return np.random.Generator(np.random.PCG64(sequence))
