"""Candles from exchanges: asked for over REST, announced by sockets, never believed before they are checked."""
