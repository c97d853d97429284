"""The live loop: each closed candle predicted once, judged when its future has come, traded on paper, and kept in a journal."""
