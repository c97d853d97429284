"""Where candles come from and rest."""

from candelabra.sources.files import ReadNotes, from_frame, read_candles, read_raw, read_with_notes, to_pandas, write_candles

__all__ = ["ReadNotes", "from_frame", "read_candles", "read_raw", "read_with_notes", "to_pandas", "write_candles"]
