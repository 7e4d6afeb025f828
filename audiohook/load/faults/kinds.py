"""Which class carries out which fault."""

from collections.abc import Mapping

from audiohook.load.faults import planned
from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.faults.garbage import GarbageCall
from audiohook.load.faults.half_open import HalfOpenCall
from audiohook.load.faults.mass_reconnect import DroppedCall, ReturnedCall
from audiohook.load.faults.reset import ResetCall
from audiohook.load.faults.single_bytes import SingleBytesCall
from audiohook.load.faults.slow_tls import SlowTlsCall
from audiohook.load.faults.stall import StallingCall
from audiohook.load.faults.storm import StormCall

CLASSES: Mapping[str, type[FaultyCall]] = {
    planned.HALF_OPEN: HalfOpenCall,
    planned.RST: ResetCall,
    planned.BYTE_AT_A_TIME: SingleBytesCall,
    planned.STORM: StormCall,
    planned.GARBAGE: GarbageCall,
    planned.MASS_RECONNECT: DroppedCall,
    planned.STALL: StallingCall,
    planned.SLOW_TLS: SlowTlsCall,
    planned.RETURNED: ReturnedCall,
}
